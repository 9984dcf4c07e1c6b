// Hot: no allocation.
#if defined(__x86_64__)
#include "../embedding/rows_avx512.h"
#include "interaction_internal.h"

INLINE void transpose(const float *from, size_t stride, uint32_t rows, uint32_t columns, float *out) {
  const __mmask16 mask = lanes_mask(columns);
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

#define DOT mr_dot_avx512
#include "dot_body.h"
#endif
