// Hot: no allocation. The sliced way, 128 rows at once; sliced_pack.c says how it works.
#if defined(__x86_64__)
#include <immintrin.h>

#include "forest_internal.h"

#define AVX2 __attribute__((target("avx2,fma")))

/// Codes stand exclusive-or 0x80, for the signed compare.
AVX2 static void walk_rows(const sliced_node *node, const sliced_node *end, const uint8_t *slices, uint8_t *indices) {
  _Alignas(32) __m256i masks[SLICED_LEAVES_MAX + 1][4];
  for (int i = 0; i < 4; i++) masks[0][i] = _mm256_set1_epi8(-1);
  __m256i i0 = _mm256_set1_epi8((char)(end - node)), i1 = i0, i2 = i0, i3 = i0;
  for (; node < end; node++) {
    const __m256i rank = _mm256_set1_epi8((char)(node->rank ^ 0x80)), leaf = _mm256_set1_epi8((char)node->leaf);
    const __m256i *codes = (const __m256i *)(const void *)(slices + node->codes);
    __m256i *mask = masks[node->mask];
    const __m256i g0 = _mm256_and_si256(_mm256_cmpgt_epi8(rank, _mm256_load_si256(codes)), mask[0]);
    const __m256i g1 = _mm256_and_si256(_mm256_cmpgt_epi8(rank, _mm256_load_si256(codes + 1)), mask[1]);
    const __m256i g2 = _mm256_and_si256(_mm256_cmpgt_epi8(rank, _mm256_load_si256(codes + 2)), mask[2]);
    const __m256i g3 = _mm256_and_si256(_mm256_cmpgt_epi8(rank, _mm256_load_si256(codes + 3)), mask[3]);
    mask[4] = g0;
    mask[5] = g1;
    mask[6] = g2;
    mask[7] = g3;
    i0 = _mm256_blendv_epi8(i0, leaf, g0);
    i1 = _mm256_blendv_epi8(i1, leaf, g1);
    i2 = _mm256_blendv_epi8(i2, leaf, g2);
    i3 = _mm256_blendv_epi8(i3, leaf, g3);
  }
  __m256i *to = (__m256i *)(void *)indices;
  _mm256_store_si256(to, i0);
  _mm256_store_si256(to + 1, i1);
  _mm256_store_si256(to + 2, i2);
  _mm256_store_si256(to + 3, i3);
}

AVX2 void forest_sliced_avx2(const mr_forest *forest, const uint8_t *slices, int64_t count, int64_t from, int64_t to, void *sums) {
  _Alignas(32) uint8_t indices[CHUNK_ROWS];
  for (int64_t t = from; t < to; t++) {
    const packed_tree *tree = &forest->trees[t];
    const sliced_node *node = forest->sliced.nodes + tree->node_start, *end = node + tree->node_count;
    for (int64_t begin = 0; begin < count; begin += 128) walk_rows(node, end, slices + begin, indices + begin);
    forest_sliced_add_leaves(forest, tree, indices, count, sums);
  }
}
#endif
