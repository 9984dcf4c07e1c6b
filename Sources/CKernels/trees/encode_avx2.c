// Hot: no allocation. Rows to codes.
#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>

#define TARGET __attribute__((target("avx2,fma,popcnt")))

TARGET static inline __attribute__((always_inline)) uint32_t count_floats(const float *t, float x) {
  const __m256 value = _mm256_set1_ps(x);
  const uint32_t low = (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(_mm256_load_ps(t), value, _CMP_LT_OQ));
  const uint32_t high = (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(_mm256_load_ps(t + 8), value, _CMP_LT_OQ));
  return (uint32_t)__builtin_popcount(low | high << 8);
}

TARGET static inline __attribute__((always_inline)) uint32_t count_doubles(const double *t, double x) {
  const __m256d value = _mm256_set1_pd(x);
  uint32_t mask = 0;
  for (int i = 0; i < 4; i++) mask |= (uint32_t)_mm256_movemask_pd(_mm256_cmp_pd(_mm256_load_pd(t + 4 * i), value, _CMP_LT_OQ)) << 4 * i;
  return (uint32_t)__builtin_popcount(mask);
}

#define ENCODER forest_encoder_avx2
#include "encode_body.h"
#endif
