// Peaks of AVX-512, VNNI and BF16.
#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,avx2,fma")))
#include "peak.h"

#define FMA(sum, a, b) _mm512_fmadd_ps(a, b, sum)
#define DOT_BF16(sum, a, b) _mm512_dpbf16_ps(sum, (__m512bh)(a), (__m512bh)(b))
PEAK(float32, __m512, _mm512_setzero_ps(), __m512, _mm512_set1_ps(0.5f), FMA, "v", 32)
PEAK(bfloat16, __m512, _mm512_setzero_ps(), __m512i, _mm512_set1_epi32(0x3f003f00), DOT_BF16, "v", 64)
PEAK(int8, __m512i, _mm512_setzero_si512(), __m512i, _mm512_set1_epi8(1), _mm512_dpbusd_epi32, "v", 128)

const mr_peaks mr_peaks_avx512 = {float32, bfloat16, int8};
#endif
