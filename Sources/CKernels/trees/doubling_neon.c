// Hot: no allocation. As doubling_avx512.c: all nodes of a tree decided at once. Where each node leads is written to memory and followed
// there: one load for each level.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "forest_internal.h"

typedef struct decided_tree {
  /// Where each node leads, and all ones where that is right.
  uint8_t next[64], right[64];
} decided_tree;

/// The leaf that the row ends in, from the left.
static inline int64_t leaf_of(const doubling_tree *tree, uint32_t levels, uint8x16x4_t row, decided_tree *decided) {
  for (int quarter = 0; quarter < 64; quarter += 16) {
    const uint8x16_t own = vqtbl4q_u8(row, vld1q_u8(tree->columns + quarter));
    const uint8x16_t right = vcgeq_u8(own, vld1q_u8(tree->ranks + quarter));
    vst1q_u8(decided->right + quarter, right);
    vst1q_u8(decided->next + quarter, vbslq_u8(right, vld1q_u8(tree->right + quarter), vld1q_u8(tree->left + quarter)));
  }
  uint32_t at = 0;
  for (uint32_t l = 0; l < levels; l++) at = decided->next[at];
  return (int64_t)at - 1 + (decided->right[at] & 1);
}

void forest_doubling_neon(const mr_forest *forest, const uint8_t *codes, int64_t count, int64_t from, int64_t to, void *sums) {
  const size_t row_sums = (size_t)forest->output_count * (forest->summation == MR_TREE_SUM_FLOAT ? sizeof(float) : sizeof(double));
  for (int64_t r = 0; r < count; r++) {
    uint8x16x4_t row;
    for (int i = 0; i < 4; i++) row.val[i] = vld1q_u8(codes + r * DOUBLING_COLUMNS_MAX + 16 * i);
    decided_tree decided[2];
    for (int64_t t = from; t < to; t++)
      add_leaf(forest, forest->trees[t].leaf_start + leaf_of(&forest->doubling.trees[t], forest->doubling.levels[t], row, &decided[t & 1]),
               forest->trees[t].output, (char *)sums + (size_t)r * row_sums);
  }
}
#endif
