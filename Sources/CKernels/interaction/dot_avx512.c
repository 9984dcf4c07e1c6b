// Hot: no allocation. Sixteen vectors stand across, transposed; each further vector is multiplied with them column by column, so that no
// sum goes across lanes.
#if defined(__x86_64__)
#include "../embedding/rows_avx512.h"
#include "interaction_internal.h"

// Columns that are transposed at a time: 8 KiB of scratch.
#define CHUNK 128

/// 16 rows of 16 floats, `stride` apart, of which `rows` rows and the columns of `mask` are there (the rest is zero): out[c * 16 + r].
MR_AVX512_INLINE void transpose(const float *from, size_t stride, uint32_t rows, __mmask16 mask, float *out) {
  __m512 a[16], b[16];
#pragma clang loop unroll(full)
  for (uint32_t r = 0; r < 16; r++) a[r] = r < rows ? _mm512_maskz_loadu_ps(mask, from + r * stride) : _mm512_setzero_ps();
#pragma clang loop unroll(full)
  for (int r = 0; r < 16; r += 2) {
    b[r] = _mm512_unpacklo_ps(a[r], a[r + 1]);
    b[r + 1] = _mm512_unpackhi_ps(a[r], a[r + 1]);
  }
  // Quarters of four rows: a[r + i] has column 4 q + i of rows r ..< r + 4 in its quarter q.
#pragma clang loop unroll(full)
  for (int r = 0; r < 16; r += 4) {
    a[r] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(b[r]), _mm512_castps_pd(b[r + 2])));
    a[r + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(b[r]), _mm512_castps_pd(b[r + 2])));
    a[r + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(b[r + 1]), _mm512_castps_pd(b[r + 3])));
    a[r + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(b[r + 1]), _mm512_castps_pd(b[r + 3])));
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) {
    __m512 low = _mm512_shuffle_f32x4(a[i], a[i + 4], 0x88), odd_low = _mm512_shuffle_f32x4(a[i], a[i + 4], 0xDD);
    __m512 high = _mm512_shuffle_f32x4(a[i + 8], a[i + 12], 0x88), odd_high = _mm512_shuffle_f32x4(a[i + 8], a[i + 12], 0xDD);
    _mm512_store_ps(out + i * 16, _mm512_shuffle_f32x4(low, high, 0x88));
    _mm512_store_ps(out + (i + 4) * 16, _mm512_shuffle_f32x4(odd_low, odd_high, 0x88));
    _mm512_store_ps(out + (i + 8) * 16, _mm512_shuffle_f32x4(low, high, 0xDD));
    _mm512_store_ps(out + (i + 12) * 16, _mm512_shuffle_f32x4(odd_low, odd_high, 0xDD));
  }
}

/// Products of vectors i ..< i + count with the 16 that stand across (the first of them is vector `block`), over `columns` columns. `count`
/// is a constant where this is inlined. `more`: add to what is there.
MR_AVX512_INLINE void group(const float *x, uint32_t width, const float *across, uint32_t columns, uint32_t i, const int count, uint32_t block,
                            bool more, float *triangle) {
  __m512 sums[8];
#pragma clang loop unroll(full)
  for (int g = 0; g < count; g++) sums[g] = _mm512_setzero_ps();
  const float *from = x + (size_t)i * width;
  for (uint32_t c = 0; c < columns; c++) {
    const __m512 column = _mm512_load_ps(across + c * 16);
#pragma clang loop unroll(full)
    for (int g = 0; g < count; g++) sums[g] = _mm512_fmadd_ps(_mm512_set1_ps(from[(size_t)g * width + c]), column, sums[g]);
  }
#pragma clang loop unroll(full)
  for (int g = 0; g < count; g++) {
    const uint32_t own = i + (uint32_t)g - block;
    const __mmask16 mask = own >= 16 ? (__mmask16)0xFFFF : (__mmask16)((1u << own) - 1);
    float *to = triangle + mr_triangle(i + (uint32_t)g) + block;
    if (more) sums[g] = _mm512_add_ps(sums[g], _mm512_maskz_loadu_ps(mask, to));
    _mm512_mask_storeu_ps(to, mask, sums[g]);
  }
}

/// `width` may be a constant where this is inlined: then the compiler knows how far vectors lie apart.
MR_AVX512_INLINE void interact(const float *x, size_t x_stride, uint32_t vectors, const uint32_t width, int32_t batch_rows, float *y,
                               size_t y_stride) {
  _Alignas(64) float across[CHUNK * 16];
  for (int32_t r = 0; r < batch_rows; r++) {
    const float *from = x + (size_t)r * x_stride;
    float *to = y + (size_t)r * y_stride;
    memcpy(to, from, (size_t)width * 4);
    to += width;
    for (uint32_t block = 0; block + 1 < vectors; block += 16)
      for (uint32_t start = 0; start < width; start += CHUNK) {
        const uint32_t columns = width - start < CHUNK ? width - start : CHUNK, rows = vectors - block < 16 ? vectors - block : 16;
        for (uint32_t c = 0; c < columns; c += 16) {
          const __mmask16 mask = columns - c >= 16 ? (__mmask16)0xFFFF : (__mmask16)((1u << (columns - c)) - 1);
          transpose(from + (size_t)block * width + start + c, width, rows, mask, across + c * 16);
        }
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

MR_AVX512 void mr_dot_avx512(const float *x, size_t x_stride, uint32_t vectors, uint32_t width, int32_t batch_rows, float *y, size_t y_stride) {
  switch (width) {
    case 8: interact(x, x_stride, vectors, 8, batch_rows, y, y_stride); break;
    case 16: interact(x, x_stride, vectors, 16, batch_rows, y, y_stride); break;
    case 32: interact(x, x_stride, vectors, 32, batch_rows, y, y_stride); break;
    case 64: interact(x, x_stride, vectors, 64, batch_rows, y, y_stride); break;
    default: interact(x, x_stride, vectors, width, batch_rows, y, y_stride); break;
  }
}
#endif
