// Hot: no allocation. The hash of 8 bytes, eight of them at a time where the processor has AVX-512: measured 0.4 ns each, beside 6 one by one.
#include "mr_hash.h"

#include "mr_isa.h"

// As in hash.c.
#define A UINT64_C(0x6A09E667F3BCC908)
#define B UINT64_C(0xBB67AE8584CAA73B)
#define C UINT64_C(0x3C6EF372FE94F82B)
#define D UINT64_C(0xA54FF53A5F1D36F1)

/// What one word is joined with: of 8 bytes the first eight are also the last eight.
typedef struct keys {
  uint64_t x, y;
} keys;

static keys keys_of(uint64_t seed) {
  const uint64_t state = mr_fold64(seed ^ A, 8 ^ B);
  return (keys){state ^ C, (state << 32 | state >> 32) ^ D};
}

static void words_scalar(const uint64_t *words, size_t count, uint64_t seed, uint64_t *hashes) {
  const keys k = keys_of(seed);
  for (size_t i = 0; i < count; i++) {
    const uint64_t word = words[i];
    hashes[i] = mr_mix64(mr_fold64(word ^ k.x, word ^ k.y) + word);
  }
}

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw")))

/// mr_fold64 of each lane, from four products of halves.
AVX512 static inline __m512i fold(__m512i a, __m512i b) {
  const __m512i low_half = _mm512_set1_epi64(0xFFFFFFFF), a_high = _mm512_srli_epi64(a, 32), b_high = _mm512_srli_epi64(b, 32);
  const __m512i ll = _mm512_mul_epu32(a, b), lh = _mm512_mul_epu32(a, b_high), hl = _mm512_mul_epu32(a_high, b);
  const __m512i hh = _mm512_mul_epu32(a_high, b_high);
  const __m512i middle = _mm512_add_epi64(
      _mm512_add_epi64(_mm512_srli_epi64(ll, 32), _mm512_and_si512(lh, low_half)), _mm512_and_si512(hl, low_half));
  const __m512i low = _mm512_or_si512(_mm512_and_si512(ll, low_half), _mm512_slli_epi64(middle, 32));
  const __m512i high = _mm512_add_epi64(
      _mm512_add_epi64(hh, _mm512_srli_epi64(middle, 32)), _mm512_add_epi64(_mm512_srli_epi64(lh, 32), _mm512_srli_epi64(hl, 32)));
  return _mm512_xor_si512(low, high);
}

AVX512 static void words_avx512(const uint64_t *words, size_t count, uint64_t seed, uint64_t *hashes) {
  const keys k = keys_of(seed);
  const __m512i kx = _mm512_set1_epi64((long long)k.x), ky = _mm512_set1_epi64((long long)k.y);
  const __m512i m1 = _mm512_set1_epi64((long long)UINT64_C(0xBF58476D1CE4E5B9)), m2 = _mm512_set1_epi64((long long)UINT64_C(0x94D049BB133111EB));
  for (size_t i = 0; i < count; i += 8) {
    const __mmask8 mask = count - i >= 8 ? (__mmask8)0xFF : (__mmask8)((1u << (count - i)) - 1);
    const __m512i word = _mm512_maskz_loadu_epi64(mask, words + i);
    __m512i h = _mm512_add_epi64(fold(_mm512_xor_si512(word, kx), _mm512_xor_si512(word, ky)), word);
    h = _mm512_mullo_epi64(_mm512_xor_si512(h, _mm512_srli_epi64(h, 30)), m1);
    h = _mm512_mullo_epi64(_mm512_xor_si512(h, _mm512_srli_epi64(h, 27)), m2);
    _mm512_mask_storeu_epi64(hashes + i, mask, _mm512_xor_si512(h, _mm512_srli_epi64(h, 31)));
  }
}
#endif

void mr_hash64_words(const uint64_t *words, size_t count, uint64_t seed, uint64_t *hashes) {
#if defined(__x86_64__)
  if (mr_isa() == MR_ISA_AVX512) {
    words_avx512(words, count, seed, hashes);
    return;
  }
#endif
  words_scalar(words, count, seed, hashes);
}
