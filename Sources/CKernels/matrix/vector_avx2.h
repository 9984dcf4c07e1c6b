// The vectors that the kernels are written in, by AVX2 and FMA: eight lanes. The includer defines TARGET.
#pragma once
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline)) TARGET
enum { LANES = 8 };
typedef __m256 vf;
typedef __m256i vi;
typedef __m256 vmask;

INLINE __m256i lanes_mask(size_t count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(count > 8 ? 8 : count)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

INLINE vf vf_load(const float *p) { return _mm256_loadu_ps(p); }
INLINE void vf_store(float *p, vf a) { _mm256_storeu_ps(p, a); }
/// Of the first `count` lanes; the others are zeros, and stay as they are in memory.
INLINE vf vf_load_some(const float *p, size_t count) { return _mm256_maskload_ps(p, lanes_mask(count)); }
INLINE void vf_store_some(float *p, vf a, size_t count) {
  if (count >= 8) _mm256_storeu_ps(p, a);
  else _mm256_maskstore_ps(p, lanes_mask(count), a);
}
INLINE vf vf_set(float a) { return _mm256_set1_ps(a); }
INLINE vf vf_add(vf a, vf b) { return _mm256_add_ps(a, b); }
INLINE vf vf_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
INLINE vf vf_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
INLINE vf vf_div(vf a, vf b) { return _mm256_div_ps(a, b); }
/// a b + c and c - a b, rounded once.
INLINE vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
INLINE vf vf_fnma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); }
/// b when one is NaN.
INLINE vf vf_max(vf a, vf b) { return _mm256_max_ps(a, b); }
INLINE vf vf_min(vf a, vf b) { return _mm256_min_ps(a, b); }
INLINE vf vf_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
/// The magnitude of a with the sign of b.
INLINE vf vf_copy_sign(vf a, vf b) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return _mm256_or_ps(_mm256_andnot_ps(sign, a), _mm256_and_ps(sign, b));
}
INLINE vmask vf_less(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
INLINE vmask vf_is_nan(vf a) { return _mm256_cmp_ps(a, a, _CMP_UNORD_Q); }
/// a where the mask is, else b.
INLINE vf vf_select(vmask mask, vf a, vf b) { return _mm256_blendv_ps(b, a, mask); }
/// a 2^n for whole n within +-252, in two steps of half of it each: rounded once unless the result is denormal.
INLINE vf vf_scale(vf a, vf n) {
  const __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1), rest = _mm256_sub_epi32(whole, half);
  const __m256i one = _mm256_set1_epi32(127);
  const __m256 first = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, one), 23));
  const __m256 second = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, one), 23));
  return _mm256_mul_ps(_mm256_mul_ps(a, first), second);
}
INLINE float vf_sum(vf a) {
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}
INLINE float vf_greatest(vf a) {
  __m128 half = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  half = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}

INLINE vi vi_load(const int32_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
INLINE void vi_store_some(int32_t *p, vi a, size_t count) {
  if (count >= 8) _mm256_storeu_si256((__m256i *)p, a);
  else _mm256_maskstore_epi32(p, lanes_mask(count), a);
}
INLINE vi vi_set(int32_t a) { return _mm256_set1_epi32(a); }
INLINE vi vi_add(vi a, vi b) { return _mm256_add_epi32(a, b); }
INLINE vi vi_and(vi a, vi b) { return _mm256_and_si256(a, b); }
INLINE vf vf_of(vi a) { return _mm256_cvtepi32_ps(a); }
