// Hot: no allocation. The sliced way, up to 256 rows at once; sliced_pack.c says how it works.
#if defined(__x86_64__)
#include <immintrin.h>

#include "forest_internal.h"

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#define INLINE AVX512 static inline __attribute__((always_inline))

typedef uint64_t mask_row[4];

/// Leaf indices of `vectors` times 64 rows. `masks[0]` is all ones.
INLINE void walk_rows(const sliced_node *node, const sliced_node *end, const uint8_t *slices, mask_row *masks, int vectors, __m512i index[4]) {
  __m512i i0 = _mm512_set1_epi8((char)(end - node)), i1 = i0, i2 = i0, i3 = i0;
  for (; node < end; node++) {
    const __m512i rank = _mm512_set1_epi8((char)node->rank), leaf = _mm512_set1_epi8((char)node->leaf);
    const uint8_t *codes = slices + node->codes;
    uint64_t *mask = masks[node->mask];
#define STEP(v)                                                                                          \
  if (v < vectors) {                                                                                     \
    const __mmask64 goes = _mm512_mask_cmplt_epu8_mask(mask[v], _mm512_load_si512(codes + 64 * v), rank); \
    mask[v + 4] = goes;                                                                                  \
    i##v = _mm512_mask_mov_epi8(i##v, goes, leaf);                                                       \
  }
    STEP(0) STEP(1) STEP(2) STEP(3)
#undef STEP
  }
  index[0] = i0;
  index[1] = i1;
  index[2] = i2;
  index[3] = i3;
}

/// Leaves of 16 rows out of at most 64, which stand in registers.
INLINE __m512 look_up(__m512i index, __m512 l0, __m512 l1, __m512 l2, __m512 l3) {
  const __m512 low = _mm512_permutex2var_ps(l0, index, l1), high = _mm512_permutex2var_ps(l2, index, l3);
  return _mm512_mask_mov_ps(low, _mm512_test_epi32_mask(index, _mm512_set1_epi32(32)), high);
}

INLINE void add_float(float *to, __m512 values) { _mm512_store_ps(to, _mm512_add_ps(_mm512_load_ps(to), values)); }

INLINE void add_double(double *to, __m512 values) {
  _mm512_store_pd(to, _mm512_add_pd(_mm512_load_pd(to), _mm512_cvtps_pd(_mm512_castps512_ps256(values))));
  _mm512_store_pd(to + 8, _mm512_add_pd(_mm512_load_pd(to + 8), _mm512_cvtps_pd(_mm512_extractf32x8_ps(values, 1))));
}

/// Adds up to 64 leaves of one value. Leaves behind the tree's are read, and not taken.
INLINE void add_leaves(const float *leaves, const __m512i index[4], int vectors, bool is_float, void *sums) {
  const __m512 l0 = _mm512_loadu_ps(leaves), l1 = _mm512_loadu_ps(leaves + 16), l2 = _mm512_loadu_ps(leaves + 32), l3 = _mm512_loadu_ps(leaves + 48);
  for (int v = 0; v < vectors; v++) {
#define QUARTER(q)                                                                                                           \
  {                                                                                                                          \
    const __m512 values = look_up(_mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(index[v], q)), l0, l1, l2, l3);             \
    if (is_float)                                                                                                            \
      add_float((float *)sums + v * 64 + q * 16, values);                                                                    \
    else                                                                                                                     \
      add_double((double *)sums + v * 64 + q * 16, values);                                                                  \
  }
    QUARTER(0) QUARTER(1) QUARTER(2) QUARTER(3)
#undef QUARTER
  }
}

INLINE void sweep(const mr_forest *forest, const uint8_t *slices, int64_t count, int64_t from, int64_t to, void *sums, int vectors) {
  mask_row masks[SLICED_LEAVES_MAX + 1];
  masks[0][0] = masks[0][1] = masks[0][2] = masks[0][3] = ~UINT64_C(0);
  const bool is_float = forest->summation == MR_TREE_SUM_FLOAT, is_plain = forest->leaf_width == 1 && forest->leaves.narrow;
  const size_t column = CHUNK_ROWS * (is_float ? sizeof(float) : sizeof(double));
  for (int64_t t = from; t < to; t++) {
    const packed_tree *tree = &forest->trees[t];
    const sliced_node *node = forest->sliced.nodes + tree->node_start;
    __m512i index[4];
    walk_rows(node, node + tree->node_count, slices, masks, vectors, index);
    if (is_plain && tree->node_count < 64) {
      void *to_sums = (char *)sums + (size_t)tree->output * column;
      if (is_float)
        add_leaves(forest->leaves.narrow + tree->leaf_start, index, vectors, true, to_sums);
      else
        add_leaves(forest->leaves.narrow + tree->leaf_start, index, vectors, false, to_sums);
    } else {
      _Alignas(64) uint8_t indices[CHUNK_ROWS];
      for (int v = 0; v < vectors; v++) _mm512_store_si512(indices + 64 * v, index[v]);
      forest_sliced_add_leaves(forest, tree, indices, count, sums);
    }
  }
}

AVX512 void forest_sliced_avx512(const mr_forest *forest, const uint8_t *slices, int64_t count, int64_t from, int64_t to, void *sums) {
  if (count > 192)
    sweep(forest, slices, count, from, to, sums, 4);
  else if (count > 128)
    sweep(forest, slices, count, from, to, sums, 3);
  else if (count > 64)
    sweep(forest, slices, count, from, to, sums, 2);
  else
    sweep(forest, slices, count, from, to, sums, 1);
}
#endif
