// Hot: no allocation in `forest_walk_add`. From node to node, several trees or several rows in flight, so that one's loads overlap the others'.
// Which way a row goes is added to an index, never branched on; leaves come back to themselves until all in flight have arrived.
#include <stdlib.h>

#include "forest_internal.h"

#define INLINE static inline __attribute__((always_inline))
#define FLIGHT 8

typedef struct visit {
  int32_t node;
  uint32_t at;
} visit;

bool forest_walk_pack(mr_forest *forest, const mr_forest_source *s, const coded_node *coded) {
  walk_forest *walk = &forest->walk;
  int32_t largest = 0;
  for (int64_t t = 0; t < s->tree_count; t++)
    if (s->trees[t].node_count > largest) largest = s->trees[t].node_count;
  const size_t slots = 2 * (size_t)s->node_count + (size_t)s->tree_count;
  visit *stack = malloc(((size_t)largest + 2) * sizeof *stack);
  walk->nodes = forest_allocate(slots, sizeof *walk->nodes, &forest->bytes);
  walk->leaves = forest_allocate(slots, sizeof *walk->leaves, &forest->bytes);
  walk->roots = forest_allocate((size_t)s->tree_count, sizeof *walk->roots, &forest->bytes);
  const bool is_good = stack && walk->nodes && walk->leaves && walk->roots;
  uint32_t used = 0;
  for (int64_t t = 0; is_good && t < s->tree_count; t++) {
    const coded_node *nodes = coded + s->trees[t].node_start;
    uint32_t leaf = (uint32_t)forest->trees[t].leaf_start;
    int32_t depth = 0;
    walk->roots[t] = used++;
    stack[depth++] = (visit){s->trees[t].node_count ? 0 : ~0, walk->roots[t]};
    while (depth) {
      const visit from = stack[--depth];
      if (from.node < 0) {
        // Every code is at least 0: to the node after the one before, which is itself.
        walk->nodes[from.at] = (walk_node){0, 0, from.at - 1};
        walk->leaves[from.at] = leaf++;
        continue;
      }
      uint32_t column;
      uint16_t rank;
      word_code(&forest->code, &nodes[from.node], &column, &rank);
      walk->nodes[from.at] = (walk_node){(uint16_t)column, rank, used};
      walk->leaves[from.at] = 0;
      stack[depth++] = (visit){nodes[from.node].right, used + 1};
      stack[depth++] = (visit){nodes[from.node].left, used};
      used += 2;
    }
  }
  free(stack);
  return is_good;
}

void forest_walk_free(mr_forest *forest) {
  free(forest->walk.nodes);
  free(forest->walk.leaves);
  free(forest->walk.roots);
}

INLINE uint32_t step(const walk_node *nodes, uint32_t at, const uint16_t *row) {
  uint64_t node;
  memcpy(&node, nodes + at, sizeof node);
  return (uint32_t)(node >> 32) + (row[(uint16_t)node] >= (uint16_t)(node >> 16));
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

INLINE uint32_t walk_alone(const walk_node *nodes, uint32_t at, const uint16_t *row) {
  for (;;) {
    const uint32_t next = step(nodes, at, row);
    if (next == at) return at;
    at = next;
  }
}

/// Few rows: trees in flight.
static void walk_row(const mr_forest *forest, const uint16_t *row, int64_t from, int64_t to, void *sums) {
  const walk_forest *walk = &forest->walk;
  int64_t t = from;
  for (; t + FLIGHT <= to; t += FLIGHT) {
    uint32_t at[FLIGHT];
    const uint16_t *rows[FLIGHT];
    for (int i = 0; i < FLIGHT; i++) at[i] = walk->roots[t + i], rows[i] = row;
    fly(walk->nodes, at, rows);
    for (int i = 0; i < FLIGHT; i++) add_leaf(forest, walk->leaves[at[i]], forest->trees[t + i].output, sums);
  }
  for (; t < to; t++) add_leaf(forest, walk->leaves[walk_alone(walk->nodes, walk->roots[t], row)], forest->trees[t].output, sums);
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
      for (int i = 0; i < FLIGHT && i < left; i++)
        add_leaf(forest, walk->leaves[at[i]], forest->trees[t].output, (char *)sums + (size_t)(begin + i) * row_sums);
    }
  }
}
