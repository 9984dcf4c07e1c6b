// Hot: no allocation.
#if defined(__x86_64__)
#include "rows_avx512.h"

#define BAG mr_bag_avx512
#define ADD mr_add_avx512
#include "bag_body.h"

TARGET void mr_rows_of_avx512(const uint64_t *ids, size_t count, uint32_t row_count, uint32_t first, uint32_t *rows) {
  const __m512i m1 = _mm512_set1_epi64((long long)UINT64_C(0xBF58476D1CE4E5B9)), m2 = _mm512_set1_epi64((long long)UINT64_C(0x94D049BB133111EB));
  const __m512i n = _mm512_set1_epi64(row_count);
  const __m256i base = _mm256_set1_epi32((int)first);
  for (size_t i = 0; i < count; i += 8) {
    const __mmask8 mask = count - i >= 8 ? (__mmask8)0xFF : (__mmask8)((1u << (count - i)) - 1);
    __m512i x = _mm512_maskz_loadu_epi64(mask, ids + i);
    x = _mm512_mullo_epi64(_mm512_xor_si512(x, _mm512_srli_epi64(x, 30)), m1);
    x = _mm512_mullo_epi64(_mm512_xor_si512(x, _mm512_srli_epi64(x, 27)), m2);
    x = _mm512_xor_si512(x, _mm512_srli_epi64(x, 31));
    x = _mm512_srli_epi64(_mm512_mul_epu32(_mm512_srli_epi64(x, 32), n), 32);
    _mm256_mask_storeu_epi32(rows + i, mask, _mm256_add_epi32(_mm512_cvtepi64_epi32(x), base));
  }
}
#endif
