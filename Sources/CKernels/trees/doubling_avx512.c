// Hot: no allocation. One row, one tree at a time, all nodes of the tree at once: one permutation fetches the codes of up to 63 nodes out of
// the row's 64, one compare decides them all, and where each node leads is then followed by doubling: after k steps every byte knows the node
// 2^k on, and stays at the last one before a leaf.
#if defined(__x86_64__)
#include <immintrin.h>

#include "forest_internal.h"

#define VBMI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi2")))
#define INLINE VBMI static inline __attribute__((always_inline))

/// The leaf that the row ends in, from the left.
INLINE uint64_t leaf_of(const doubling_tree *tree, uint32_t steps, __m512i codes) {
  const __m512i own = _mm512_permutexvar_epi8(_mm512_load_si512(tree->columns), codes);
  // A tree without nodes has rank 0 everywhere: right of byte 0, which stays, is leaf 0.
  const __mmask64 right = _mm512_cmpge_epu8_mask(own, _mm512_load_si512(tree->ranks));
  __m512i next = _mm512_mask_mov_epi8(_mm512_load_si512(tree->left), right, _mm512_load_si512(tree->right));
#define STEP next = _mm512_permutexvar_epi8(next, next);
  STEP STEP STEP
  if (steps > 3) STEP
  if (steps > 4) STEP
  if (steps > 5) STEP
#undef STEP
  const uint64_t last = (uint32_t)_mm_cvtsi128_si32(_mm512_castsi512_si128(next)) & 63;
  return last - 1 + (_cvtmask64_u64(right) >> last & 1);
}

VBMI void forest_doubling_avx512(const mr_forest *forest, const uint8_t *codes, int64_t from, int64_t to, void *sums) {
  const __m512i row = _mm512_load_si512(codes);
  const doubling_tree *trees = forest->doubling.trees;
  const uint8_t *steps = forest->doubling.steps;
  const packed_tree *packed = forest->trees;
  if (forest->output_count > 1 || !forest->leaves.narrow) {
    for (int64_t t = from; t < to; t++) add_leaf(forest, packed[t].leaf_start + (int64_t)leaf_of(&trees[t], steps[t], row), packed[t].output, sums);
    return;
  }
  // One sum: it stays in a register.
  const float *leaves = forest->leaves.narrow;
  if (forest->summation == MR_TREE_SUM_FLOAT) {
    float sum = *(float *)sums;
    for (int64_t t = from; t < to; t++) sum += leaves[packed[t].leaf_start + (int64_t)leaf_of(&trees[t], steps[t], row)];
    *(float *)sums = sum;
    return;
  }
  double even = 0, odd = 0;
  int64_t t = from;
  for (; t + 2 <= to; t += 2) {
    even += (double)leaves[packed[t].leaf_start + (int64_t)leaf_of(&trees[t], steps[t], row)];
    odd += (double)leaves[packed[t + 1].leaf_start + (int64_t)leaf_of(&trees[t + 1], steps[t + 1], row)];
  }
  if (t < to) even += (double)leaves[packed[t].leaf_start + (int64_t)leaf_of(&trees[t], steps[t], row)];
  *(double *)sums += even + odd;
}
#endif
