// The vectors that the kernels are written in, by AVX-512: sixteen lanes. The includer defines TARGET.
#pragma once
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline)) TARGET
enum { LANES = 16 };
typedef __m512 vf;
typedef __m512i vi;
typedef __mmask16 vmask;

INLINE __mmask16 lanes_mask(size_t count) { return count >= 16 ? 0xffff : (__mmask16)((1u << count) - 1); }

INLINE vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
INLINE void vf_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
/// Of the first `count` lanes; the others are zeros, and stay as they are in memory.
INLINE vf vf_load_some(const float *p, size_t count) { return _mm512_maskz_loadu_ps(lanes_mask(count), p); }
INLINE void vf_store_some(float *p, vf a, size_t count) { _mm512_mask_storeu_ps(p, lanes_mask(count), a); }
INLINE vf vf_set(float a) { return _mm512_set1_ps(a); }
INLINE vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
INLINE vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
INLINE vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
INLINE vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
/// a b + c and c - a b, rounded once.
INLINE vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
INLINE vf vf_fnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); }
/// b when one is NaN.
INLINE vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
INLINE vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
INLINE vf vf_abs(vf a) { return _mm512_abs_ps(a); }
/// The magnitude of a with the sign of b.
INLINE vf vf_copy_sign(vf a, vf b) {
  return _mm512_castsi512_ps(
      _mm512_ternarylogic_epi32(_mm512_set1_epi32(INT32_MIN), _mm512_castps_si512(b), _mm512_castps_si512(a), 0xca));
}
INLINE vmask vf_less(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
INLINE vmask vf_is_nan(vf a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
/// a where the mask is, else b.
INLINE vf vf_select(vmask mask, vf a, vf b) { return _mm512_mask_blend_ps(mask, b, a); }
/// a 2^n for whole n, rounded once.
INLINE vf vf_scale(vf a, vf n) { return _mm512_scalef_ps(a, n); }
INLINE float vf_sum(vf a) { return _mm512_reduce_add_ps(a); }
INLINE float vf_greatest(vf a) { return _mm512_reduce_max_ps(a); }

INLINE vi vi_load(const int32_t *p) { return _mm512_loadu_si512(p); }
INLINE void vi_store_some(int32_t *p, vi a, size_t count) { _mm512_mask_storeu_epi32(p, lanes_mask(count), a); }
INLINE vi vi_set(int32_t a) { return _mm512_set1_epi32(a); }
INLINE vi vi_add(vi a, vi b) { return _mm512_add_epi32(a, b); }
INLINE vi vi_and(vi a, vi b) { return _mm512_and_si512(a, b); }
INLINE vf vf_of(vi a) { return _mm512_cvtepi32_ps(a); }
