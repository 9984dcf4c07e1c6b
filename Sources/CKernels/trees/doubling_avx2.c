// Hot: no allocation. As doubling_avx512.c: all nodes of a tree decided at once. There is no permutation of 64 bytes here, so where each node
// leads is written to memory and followed there: one load for each level.
#if defined(__x86_64__)
#include <immintrin.h>

#include "forest_internal.h"

#define AVX2 __attribute__((target("avx2,fma")))
#define FLIGHT 8
#define INLINE AVX2 static inline __attribute__((always_inline))

/// The codes of 32 nodes, by their columns. `table`: the row's codes, 16 to each register, in both halves.
INLINE __m256i fetch(const __m256i table[4], __m256i columns, bool has_many) {
  const __m256i fourth = _mm256_slli_epi16(columns, 3);
  const __m256i low = _mm256_blendv_epi8(_mm256_shuffle_epi8(table[0], columns), _mm256_shuffle_epi8(table[1], columns), fourth);
  if (!has_many) return low;
  const __m256i high = _mm256_blendv_epi8(_mm256_shuffle_epi8(table[2], columns), _mm256_shuffle_epi8(table[3], columns), fourth);
  return _mm256_blendv_epi8(low, high, _mm256_slli_epi16(columns, 2));
}

typedef struct decided_tree {
  /// Where each node leads, and all ones where that is right.
  _Alignas(32) uint8_t next[64], right[64];
} decided_tree;

INLINE void decide(const doubling_tree *tree, const __m256i table[4], bool has_many, decided_tree *decided) {
  for (int half = 0; half < 64; half += 32) {
    const __m256i own = fetch(table, _mm256_load_si256((const __m256i *)(const void *)(tree->columns + half)), has_many);
    const __m256i rank = _mm256_load_si256((const __m256i *)(const void *)(tree->ranks + half));
    const __m256i right = _mm256_cmpeq_epi8(_mm256_max_epu8(own, rank), own);
    const __m256i next = _mm256_blendv_epi8(_mm256_load_si256((const __m256i *)(const void *)(tree->left + half)),
                                            _mm256_load_si256((const __m256i *)(const void *)(tree->right + half)), right);
    _mm256_store_si256((__m256i *)(void *)(decided->right + half), right);
    _mm256_store_si256((__m256i *)(void *)(decided->next + half), next);
  }
}

/// Leaves (over the forest) that the row ends in. The paths of several trees are followed side by side: one alone would leave the processor
/// waiting for its loads.
INLINE void find_leaves(const mr_forest *forest, const __m256i table[4], int64_t t, int64_t count, bool has_many, int64_t leaves[FLIGHT]) {
  decided_tree decided[FLIGHT];
  uint32_t at[FLIGHT] = {0}, deepest = 0;
  for (int i = 0; i < FLIGHT; i++) {
    // Behind the last tree the last one again.
    const int64_t tree = t + (i < count ? i : count - 1);
    decide(&forest->doubling.trees[tree], table, has_many, &decided[i]);
    if (forest->doubling.levels[tree] > deepest) deepest = forest->doubling.levels[tree];
  }
  for (uint32_t l = 0; l < deepest; l++) {
#pragma clang loop unroll(full)
    for (int i = 0; i < FLIGHT; i++) at[i] = decided[i].next[at[i]];
  }
  for (int i = 0; i < FLIGHT && i < count; i++) leaves[i] = forest->trees[t + i].leaf_start + (int64_t)at[i] - 1 + (decided[i].right[at[i]] & 1);
}

INLINE void add(const mr_forest *forest, const uint8_t *codes, int64_t from, int64_t to, void *sums, bool has_many) {
  __m256i table[4];
  for (int i = 0; i < 4; i++) table[i] = _mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)(const void *)(codes + 16 * i)));
  for (int64_t t = from; t < to; t += FLIGHT) {
    const int64_t count = to - t < FLIGHT ? to - t : FLIGHT;
    int64_t leaves[FLIGHT];
    find_leaves(forest, table, t, count, has_many, leaves);
    for (int i = 0; i < FLIGHT && i < count; i++) add_leaf(forest, leaves[i], forest->trees[t + i].output, sums);
  }
}

AVX2 void forest_doubling_avx2(const mr_forest *forest, const uint8_t *codes, int64_t count, int64_t from, int64_t to, void *sums) {
  const size_t row_sums = (size_t)forest->output_count * (forest->summation == MR_TREE_SUM_FLOAT ? sizeof(float) : sizeof(double));
  for (int64_t r = 0; r < count; r++) {
    const uint8_t *row = codes + r * DOUBLING_COLUMNS_MAX;
    if (forest->code.byte_columns > 32)
      add(forest, row, from, to, (char *)sums + (size_t)r * row_sums, true);
    else
      add(forest, row, from, to, (char *)sums + (size_t)r * row_sums, false);
  }
}
#endif
