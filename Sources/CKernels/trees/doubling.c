// The doubling way's packing: trees of at most 64 leaves, all nodes of one in a vector of 64 bytes. Nodes stand from left to right in bytes
// 1 ..., so that left of byte n is leaf n - 1, and right of it leaf n. Byte 0 leads to the root.
#include <stdlib.h>

#include "forest_internal.h"

typedef struct visit {
  int32_t node, depth;
} visit;

static void pack_tree(const forest_code *code, const coded_node *nodes, doubling_tree *tree, uint8_t *steps, uint8_t *levels) {
  visit stack[DOUBLING_NODES_MAX];
  uint8_t places[DOUBLING_NODES_MAX];
  int32_t order[DOUBLING_NODES_MAX], placed = 0, depth = 0, deepest = 1;
  visit at = {0, 1};
  for (;;) {
    while (at.node >= 0) {
      if (at.depth > deepest) deepest = at.depth;
      stack[depth++] = at;
      at = (visit){nodes[at.node].left, at.depth + 1};
    }
    if (depth == 0) break;
    at = stack[--depth];
    order[placed++] = at.node;
    places[at.node] = (uint8_t)placed;
    at = (visit){nodes[at.node].right, at.depth + 1};
  }
  tree->left[0] = tree->right[0] = places[0];
  for (int32_t i = 0; i < placed; i++) {
    const coded_node *node = &nodes[order[i]];
    const int32_t n = i + 1;
    uint32_t column;
    byte_code(code, node, &column, &tree->ranks[n]);
    tree->columns[n] = (uint8_t)column;
    // Where a leaf comes next, a node stays.
    tree->left[n] = node->left < 0 ? (uint8_t)n : places[node->left];
    tree->right[n] = node->right < 0 ? (uint8_t)n : places[node->right];
  }
  *levels = (uint8_t)deepest;
  *steps = 0;
  while (1 << *steps < deepest) ++*steps;
}

bool forest_doubling_pack(mr_forest *forest, const mr_forest_source *s, const coded_node *coded) {
  doubling_forest *doubling = &forest->doubling;
  doubling->trees = forest_allocate((size_t)s->tree_count, sizeof *doubling->trees, &forest->bytes);
  doubling->steps = forest_allocate((size_t)s->tree_count, 1, &forest->bytes);
  doubling->levels = forest_allocate((size_t)s->tree_count, 1, &forest->bytes);
  if (!doubling->trees || !doubling->steps || !doubling->levels) return false;
  for (int64_t t = 0; t < s->tree_count; t++) {
    memset(&doubling->trees[t], 0, sizeof doubling->trees[t]);
    doubling->steps[t] = doubling->levels[t] = 0;
    if (s->trees[t].node_count)
      pack_tree(&forest->code, coded + s->trees[t].node_start, &doubling->trees[t], &doubling->steps[t], &doubling->levels[t]);
  }
  return true;
}

void forest_doubling_free(mr_forest *forest) {
  free(forest->doubling.trees);
  free(forest->doubling.steps);
  free(forest->doubling.levels);
}
