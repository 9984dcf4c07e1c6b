// Hot: no allocation in `forest_walk_add`. From node to node, several trees or several rows in flight, so that one's loads overlap the
// others'. Which way a row goes is added to an index, never branched on; who has come to a leaf stays until all in flight have arrived.
#include <stdlib.h>

#include "forest_internal.h"

#define INLINE static inline __attribute__((always_inline))
#define FLIGHT 8
/// Nodes of a cache line: children of four.
#define LINE 8


/// A leaf: rank 0, which no other node has, and where its values are, or its one value itself.
static walk_node leaf_node(const mr_forest *forest, uint32_t leaf) {
  walk_node node = {0, 0, leaf};
  if (forest->walk.holds_values) memcpy(&node.child, &forest->leaves.narrow[leaf], sizeof(float));
  return node;
}

/// Leaves of the subtree that each node is the root of; a node of the tree comes after its parent in `order`.
static void count_leaves(const coded_node *nodes, const int32_t *order, int32_t count, uint32_t *leaves) {
  for (int32_t i = count - 1; i >= 0; i--) {
    const coded_node *node = &nodes[order[i]];
    leaves[order[i]] = (node->left < 0 ? 1 : leaves[node->left]) + (node->right < 0 ? 1 : leaves[node->right]);
  }
}

typedef struct pending {
  int32_t node;
  uint32_t at, leaf;
} pending;

/// Places one tree. Up to four nodes that hang together have their children in one cache line, so that a path takes two steps in each line.
static uint32_t pack_tree(mr_forest *forest, const coded_node *nodes, uint32_t used, uint32_t first_leaf, pending *stack, const uint32_t *leaves) {
  walk_node *to = forest->walk.nodes;
  int32_t depth = 0;
  stack[depth++] = (pending){0, used++, first_leaf};
  while (depth) {
    pending cluster[LINE / 2];
    int taken = 0, found = 1;
    cluster[0] = stack[--depth];
    // Breadth first; what does not fit waits, the leftmost on top.
    pending waiting[LINE];
    int waits = 0;
    for (; taken < found; taken++) {
      const coded_node *node = &nodes[cluster[taken].node];
      for (int side = 0; side < 2; side++) {
        const int32_t child = side ? node->right : node->left;
        if (child >= 0 && found < LINE / 2) cluster[found++] = (pending){child, 0, 0};
      }
    }
    if (used % LINE + 2 * (uint32_t)found > LINE && found == LINE / 2) used = (used + LINE - 1) / LINE * LINE;
    // The same walk again, now that the place is known: children of cluster[i] stand at used + 2 i.
    int next = 1;
    for (int i = 0; i < found; i++) {
      const pending from = cluster[i];
      const coded_node *node = &nodes[from.node];
      const uint32_t pair = used + 2 * (uint32_t)i;
      uint32_t column;
      uint16_t rank;
      word_code(&forest->code, node, &column, &rank);
      to[from.at] = (walk_node){(uint16_t)column, rank, pair};
      uint32_t leaf = from.leaf;
      for (int side = 0; side < 2; side++) {
        const int32_t child = side ? node->right : node->left;
        const uint32_t at = pair + (uint32_t)side;
        if (child < 0) {
          to[at] = leaf_node(forest, leaf++);
          continue;
        }
        if (next < found && cluster[next].node == child)
          cluster[next].at = at, cluster[next++].leaf = leaf;
        else
          waiting[waits++] = (pending){child, at, leaf};
        leaf += leaves[child];
      }
    }
    used += 2 * (uint32_t)found;
    while (waits) stack[depth++] = waiting[--waits];
  }
  return used;
}

bool forest_walk_pack(mr_forest *forest, const mr_forest_source *s, const coded_node *coded) {
  walk_forest *walk = &forest->walk;
  int32_t largest = 0;
  for (int64_t t = 0; t < s->tree_count; t++)
    if (s->trees[t].node_count > largest) largest = s->trees[t].node_count;
  const size_t slots = forest_walk_slots_max(s);
  // Mostly not used, and then never touched.
  size_t room = 0;
  int32_t *order = malloc(((size_t)largest + 1) * sizeof *order);
  uint32_t *leaves = malloc(((size_t)largest + 1) * sizeof *leaves);
  pending *stack = malloc(((size_t)largest + LINE) * sizeof *stack);
  walk->holds_values = forest->leaf_width == 1 && forest->leaves.narrow;
  walk->nodes = forest_allocate(slots, sizeof *walk->nodes, &room);
  walk->roots = forest_allocate((size_t)s->tree_count, sizeof *walk->roots, &forest->bytes);
  const bool is_good = order && leaves && stack && walk->nodes && walk->roots;
  uint32_t used = 0;
  for (int64_t t = 0; is_good && t < s->tree_count; t++) {
    const coded_node *nodes = coded + s->trees[t].node_start;
    const uint32_t first_leaf = (uint32_t)forest->trees[t].leaf_start;
    walk->roots[t] = used;
    if (s->trees[t].node_count == 0) {
      walk->nodes[used++] = leaf_node(forest, first_leaf);
      continue;
    }
    int32_t count = 1;
    order[0] = 0;
    for (int32_t i = 0; i < count; i++) {
      if (nodes[order[i]].left >= 0) order[count++] = nodes[order[i]].left;
      if (nodes[order[i]].right >= 0) order[count++] = nodes[order[i]].right;
    }
    count_leaves(nodes, order, count, leaves);
    used = pack_tree(forest, nodes, used, first_leaf, stack, leaves);
  }
  forest->bytes += (size_t)used * sizeof *walk->nodes;
  free(order);
  free(leaves);
  free(stack);
  return is_good;
}

void forest_walk_free(mr_forest *forest) {
  free(forest->walk.nodes);
  free(forest->walk.roots);
}

INLINE uint32_t step(const walk_node *nodes, uint32_t at, const uint16_t *row) {
  uint64_t node;
  memcpy(&node, nodes + at, sizeof node);
  const uint16_t rank = (uint16_t)(node >> 16);
  const uint32_t next = (uint32_t)(node >> 32) + (row[(uint16_t)node] >= rank);
  return __builtin_unpredictable(rank == 0) ? at : next;
}

/// Walks `FLIGHT` at once, each from `at[i]` by the codes at `rows[i]`, to their leaves.
INLINE void fly(const walk_node *nodes, uint32_t at[FLIGHT], const uint16_t *const rows[FLIGHT]) {
  uint32_t moved;
  do {
    for (int s = 0; s < 3; s++) {
#pragma clang loop unroll(full)
      for (int i = 0; i < FLIGHT; i++) at[i] = step(nodes, at[i], rows[i]);
    }
    moved = 0;
#pragma clang loop unroll(full)
    for (int i = 0; i < FLIGHT; i++) {
      const uint32_t next = step(nodes, at[i], rows[i]);
      moved |= next ^ at[i];
      at[i] = next;
    }
  } while (moved);
}

INLINE void add_at(const mr_forest *forest, uint32_t at, int32_t output, void *sums) {
  const uint32_t child = forest->walk.nodes[at].child;
  if (!forest->walk.holds_values) {
    add_leaf(forest, child, output, sums);
    return;
  }
  float value;
  memcpy(&value, &child, sizeof value);
  if (forest->summation == MR_TREE_SUM_FLOAT)
    ((float *)sums)[output] += value;
  else
    ((double *)sums)[output] += (double)value;
}

/// Few rows: trees in flight.
static void walk_row(const mr_forest *forest, const uint16_t *row, int64_t from, int64_t to, void *sums) {
  const walk_forest *walk = &forest->walk;
  for (int64_t t = from; t < to; t += FLIGHT) {
    const int64_t left = to - t;
    uint32_t at[FLIGHT];
    const uint16_t *rows[FLIGHT];
    for (int i = 0; i < FLIGHT; i++) at[i] = walk->roots[t + (i < left ? i : 0)], rows[i] = row;
    fly(walk->nodes, at, rows);
    for (int i = 0; i < FLIGHT && i < left; i++) add_at(forest, at[i], forest->trees[t + i].output, sums);
  }
}

void forest_walk_add(const mr_forest *forest, const uint16_t *words, int64_t count, int64_t from, int64_t to, void *sums) {
  const walk_forest *walk = &forest->walk;
  const size_t columns = (size_t)forest->code.word_columns;
  const size_t row_sums = (size_t)forest->output_count * (forest->summation == MR_TREE_SUM_FLOAT ? sizeof(float) : sizeof(double));
  if (count < FLIGHT) {
    for (int64_t r = 0; r < count; r++) walk_row(forest, words + (size_t)r * columns, from, to, (char *)sums + (size_t)r * row_sums);
    return;
  }
  // Rows in flight: a tree stays in the cache while they pass.
  for (int64_t t = from; t < to; t++) {
    for (int64_t begin = 0; begin < count; begin += FLIGHT) {
      uint32_t at[FLIGHT];
      const uint16_t *rows[FLIGHT];
      const int64_t left = count - begin;
      for (int i = 0; i < FLIGHT; i++) at[i] = walk->roots[t], rows[i] = words + (size_t)(begin + (i < left ? i : 0)) * columns;
      fly(walk->nodes, at, rows);
      for (int i = 0; i < FLIGHT && i < left; i++) add_at(forest, at[i], forest->trees[t].output, (char *)sums + (size_t)(begin + i) * row_sums);
    }
  }
}
