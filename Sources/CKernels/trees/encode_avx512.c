// Hot: no allocation. Rows to codes.
#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,popcnt")))

TARGET static inline __attribute__((always_inline)) uint32_t count_floats(const float *t, float x) {
  return (uint32_t)__builtin_popcount(_mm512_cmp_ps_mask(_mm512_load_ps(t), _mm512_set1_ps(x), _CMP_LT_OQ));
}

TARGET static inline __attribute__((always_inline)) uint32_t count_doubles(const double *t, double x) {
  const __m512d value = _mm512_set1_pd(x);
  const uint32_t low = _mm512_cmp_pd_mask(_mm512_load_pd(t), value, _CMP_LT_OQ), high = _mm512_cmp_pd_mask(_mm512_load_pd(t + 8), value, _CMP_LT_OQ);
  return (uint32_t)__builtin_popcount(low | high << 8);
}

#define ENCODER forest_encoder_avx512
#include "encode_body.h"
#endif
