// Packs leaves, and trees for the sliced way.
//
// The sliced way, for a vector of rows: leaves are numbered from left to right. A mask says which rows have not been sent right anywhere
// above; going right keeps it, going left keeps those rows whose code is below the node's rank. Nodes are visited from right to left: after
// a node's right side comes the leaf just left of its split, in whose index every row that goes left here is put, over what its right side
// left there. In the end each row holds the leftmost leaf that it was not sent past: the one it ends in. One compare under mask and one move
// under mask for each node, whatever the tree's form; no branch depends on rows.
#include <math.h>
#include <stdlib.h>

#include "forest_internal.h"

typedef struct visit {
  int32_t node, depth;
} visit;

/// Whether all values are within 2^-24 of themselves as floats.
static bool survives_as_floats(const double *values, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    const double error = fabs((double)(float)values[i] - values[i]);
    if (!(error <= fabs(values[i]) * 0x1p-24)) return false;
  }
  return true;
}

/// Values of one leaf, and its place among the packed.
static void copy_leaf(mr_forest *forest, const double *from, int64_t to) {
  const int64_t width = forest->leaf_width;
  for (int64_t o = 0; o < width; o++) {
    if (forest->leaves.narrow)
      forest->leaves.narrow[to * width + o] = (float)from[o];
    else
      forest->leaves.wide[to * width + o] = from[o];
  }
}

bool forest_leaves_pack(mr_forest *forest, const mr_forest_source *s, const coded_node *coded) {
  const int64_t width = s->leaf_width;
  int32_t largest = 0;
  for (int64_t t = 0; t < s->tree_count; t++)
    if (s->trees[t].node_count > largest) largest = s->trees[t].node_count;
  int32_t *stack = malloc(((size_t)largest + 2) * sizeof *stack);
  forest->trees = forest_allocate((size_t)s->tree_count, sizeof *forest->trees, &forest->bytes);
  const size_t leaf_count = (size_t)s->node_count + (size_t)s->tree_count;
  if (s->summation == MR_TREE_SUM_FLOAT || survives_as_floats(s->leaf_values, s->leaf_value_count))
    forest->leaves.narrow = forest_allocate(leaf_count * (size_t)width + 64, sizeof(float), &forest->bytes);
  else
    forest->leaves.wide = forest_allocate(leaf_count * (size_t)width + 64, sizeof(double), &forest->bytes);
  const bool is_good = stack && forest->trees && (forest->leaves.narrow || forest->leaves.wide);
  int64_t written = 0;
  for (int64_t t = 0; is_good && t < s->tree_count; t++) {
    const mr_tree tree = s->trees[t];
    const double *values = s->leaf_values + (int64_t)tree.leaf_start * width;
    const coded_node *nodes = coded + tree.node_start;
    const int64_t start = written;
    int32_t depth = 0;
    stack[depth++] = tree.node_count ? 0 : ~0;
    while (depth) {
      const int32_t at = stack[--depth];
      if (at < 0) {
        copy_leaf(forest, values + (int64_t)~at * width, written++);
      } else {
        stack[depth++] = nodes[at].right;
        stack[depth++] = nodes[at].left;
      }
    }
    // Trees grow uneven: half as deep again as they need be.
    for (int64_t leaves = written - start; leaves > 1; leaves = leaves * 2 / 3) forest->level_total++;
    forest->trees[t] = (packed_tree){0, start, (int32_t)(written - start - 1), tree.output};
  }
  forest->leaf_total = written;
  free(stack);
  return is_good;
}

bool forest_sliced_pack(mr_forest *forest, const mr_forest_source *s, const coded_node *coded) {
  sliced_forest *sliced = &forest->sliced;
  visit stack[SLICED_LEAVES_MAX + 1];
  sliced->nodes = forest_allocate((size_t)s->node_count, sizeof *sliced->nodes, &forest->bytes);
  if (!sliced->nodes) return false;
  int64_t written = 0;
  for (int64_t t = 0; t < s->tree_count; t++) {
    const coded_node *nodes = coded + s->trees[t].node_start;
    int32_t leaf = forest->trees[t].node_count, depth = 0;
    forest->trees[t].node_start = written;
    visit at = {s->trees[t].node_count ? 0 : ~0, 0};
    for (;;) {
      while (at.node >= 0) {
        stack[depth++] = at;
        at.node = nodes[at.node].right;
      }
      if (depth == 0) break;
      const visit from = stack[--depth];
      uint32_t column;
      uint8_t rank;
      byte_code(&forest->code, &nodes[from.node], &column, &rank);
      leaf--;
      sliced->nodes[written++] = (sliced_node){column * CHUNK_ROWS, rank, (uint8_t)leaf, (uint8_t)from.depth, 0};
      at = (visit){nodes[from.node].left, from.depth + 1};
    }
  }
  return true;
}

void forest_sliced_free(mr_forest *forest) { free(forest->sliced.nodes); }
