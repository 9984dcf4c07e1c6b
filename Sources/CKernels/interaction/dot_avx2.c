// Hot: no allocation.
#if defined(__x86_64__)
#include "../embedding/rows_avx2.h"
#include "interaction_internal.h"

INLINE void transpose(const float *from, size_t stride, uint32_t rows, uint32_t columns, float *out) {
  const __m256i mask = lanes_mask(columns);
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

#define DOT mr_dot_avx2
#include "dot_body.h"
#endif
