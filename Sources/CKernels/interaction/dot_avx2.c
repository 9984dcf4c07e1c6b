// Hot: no allocation. As the AVX-512 form, eight vectors across.
#if defined(__x86_64__)
#include "../embedding/rows_avx2.h"
#include "interaction_internal.h"

#define CHUNK 128

/// 8 rows of 8 floats, `stride` apart, of which `rows` rows and the first `columns` columns are there: out[c * 8 + r].
MR_AVX2_INLINE void transpose(const float *from, size_t stride, uint32_t rows, uint32_t columns, float *out) {
  const __m256i mask = mr_first8(columns);
  __m256 a[8], b[8];
#pragma clang loop unroll(full)
  for (uint32_t r = 0; r < 8; r++) a[r] = r < rows ? _mm256_maskload_ps(from + r * stride, mask) : _mm256_setzero_ps();
#pragma clang loop unroll(full)
  for (int r = 0; r < 8; r += 2) {
    b[r] = _mm256_unpacklo_ps(a[r], a[r + 1]);
    b[r + 1] = _mm256_unpackhi_ps(a[r], a[r + 1]);
  }
#pragma clang loop unroll(full)
  for (int r = 0; r < 8; r += 4) {
    a[r] = _mm256_shuffle_ps(b[r], b[r + 2], 0x44);
    a[r + 1] = _mm256_shuffle_ps(b[r], b[r + 2], 0xEE);
    a[r + 2] = _mm256_shuffle_ps(b[r + 1], b[r + 3], 0x44);
    a[r + 3] = _mm256_shuffle_ps(b[r + 1], b[r + 3], 0xEE);
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) {
    _mm256_store_ps(out + i * 8, _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
    _mm256_store_ps(out + (i + 4) * 8, _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
  }
}

MR_AVX2_INLINE void group(const float *x, uint32_t width, const float *across, uint32_t columns, uint32_t i, const int count, uint32_t block,
                          bool more, float *triangle) {
  __m256 sums[8];
#pragma clang loop unroll(full)
  for (int g = 0; g < count; g++) sums[g] = _mm256_setzero_ps();
  const float *from = x + (size_t)i * width;
  for (uint32_t c = 0; c < columns; c++) {
    const __m256 column = _mm256_load_ps(across + c * 8);
#pragma clang loop unroll(full)
    for (int g = 0; g < count; g++) sums[g] = _mm256_fmadd_ps(_mm256_broadcast_ss(from + (size_t)g * width + c), column, sums[g]);
  }
#pragma clang loop unroll(full)
  for (int g = 0; g < count; g++) {
    const uint32_t own = i + (uint32_t)g - block;
    const __m256i mask = mr_first8(own < 8 ? own : 8);
    float *to = triangle + mr_triangle(i + (uint32_t)g) + block;
    if (more) sums[g] = _mm256_add_ps(sums[g], _mm256_maskload_ps(to, mask));
    _mm256_maskstore_ps(to, mask, sums[g]);
  }
}

MR_AVX2 void mr_dot_avx2(const float *x, size_t x_stride, uint32_t vectors, uint32_t width, int32_t batch_rows, float *y, size_t y_stride) {
  _Alignas(32) float across[CHUNK * 8];
  for (int32_t r = 0; r < batch_rows; r++) {
    const float *from = x + (size_t)r * x_stride;
    float *to = y + (size_t)r * y_stride;
    memcpy(to, from, (size_t)width * 4);
    to += width;
    for (uint32_t block = 0; block + 1 < vectors; block += 8)
      for (uint32_t start = 0; start < width; start += CHUNK) {
        const uint32_t columns = width - start < CHUNK ? width - start : CHUNK, rows = vectors - block < 8 ? vectors - block : 8;
        for (uint32_t c = 0; c < columns; c += 8)
          transpose(from + (size_t)block * width + start + c, width, rows, columns - c < 8 ? columns - c : 8, across + c * 8);
        uint32_t i = block + 1;
        for (; i + 8 <= vectors; i += 8) group(from + start, width, across, columns, i, 8, block, start > 0, to);
        if (i + 4 <= vectors) {
          group(from + start, width, across, columns, i, 4, block, start > 0, to);
          i += 4;
        }
        if (i + 2 <= vectors) {
          group(from + start, width, across, columns, i, 2, block, start > 0, to);
          i += 2;
        }
        if (i < vectors) group(from + start, width, across, columns, i, 1, block, start > 0, to);
      }
  }
}
#endif
