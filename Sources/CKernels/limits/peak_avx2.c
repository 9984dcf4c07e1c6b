// Peaks of AVX2 and FMA. int8 are products of 16-bit halves, as the exact kernels take them: two instructions for sixteen products.
#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx2,fma")))
#include "peak.h"

#define FMA(sum, a, b) _mm256_fmadd_ps(a, b, sum)
#define MADD(sum, a, b) _mm256_add_epi32(sum, _mm256_madd_epi16(a, b))
PEAK(float32, __m256, _mm256_setzero_ps(), __m256, _mm256_set1_ps(0.5f), FMA, "x", 16)
PEAK(int8, __m256i, _mm256_setzero_si256(), __m256i, _mm256_set1_epi16(1), MADD, "x", 32)

const mr_peaks mr_peaks_avx2 = {float32, 0, int8};
#endif
