// The vectors that the kernels are written in, by NEON: four lanes. The includer defines TARGET.
#pragma once
#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline)) TARGET
enum { LANES = 4 };
typedef float32x4_t vf;
typedef int32x4_t vi;
typedef uint32x4_t vmask;

INLINE vf vf_load(const float *p) { return vld1q_f32(p); }
INLINE void vf_store(float *p, vf a) { vst1q_f32(p, a); }
/// Of the first `count` lanes; the others are zeros, and stay as they are in memory.
INLINE vf vf_load_some(const float *p, size_t count) {
  if (count >= 4) return vld1q_f32(p);
  float lanes[4] = {0, 0, 0, 0};
  memcpy(lanes, p, count * 4);
  return vld1q_f32(lanes);
}
INLINE void vf_store_some(float *p, vf a, size_t count) {
  if (count >= 4) {
    vst1q_f32(p, a);
    return;
  }
  float lanes[4];
  vst1q_f32(lanes, a);
  memcpy(p, lanes, count * 4);
}
INLINE vf vf_set(float a) { return vdupq_n_f32(a); }
INLINE vf vf_add(vf a, vf b) { return vaddq_f32(a, b); }
INLINE vf vf_sub(vf a, vf b) { return vsubq_f32(a, b); }
INLINE vf vf_mul(vf a, vf b) { return vmulq_f32(a, b); }
INLINE vf vf_div(vf a, vf b) { return vdivq_f32(a, b); }
/// a b + c and c - a b, rounded once.
INLINE vf vf_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
INLINE vf vf_fnma(vf a, vf b, vf c) { return vfmsq_f32(c, a, b); }
/// b when one is NaN.
INLINE vf vf_max(vf a, vf b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
INLINE vf vf_min(vf a, vf b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
INLINE vf vf_abs(vf a) { return vabsq_f32(a); }
/// The magnitude of a with the sign of b.
INLINE vf vf_copy_sign(vf a, vf b) { return vbslq_f32(vdupq_n_u32(0x80000000u), b, a); }
INLINE vmask vf_less(vf a, vf b) { return vcltq_f32(a, b); }
INLINE vmask vf_is_nan(vf a) { return vmvnq_u32(vceqq_f32(a, a)); }
/// a where the mask is, else b.
INLINE vf vf_select(vmask mask, vf a, vf b) { return vbslq_f32(mask, a, b); }
/// a 2^n for whole n within +-252, in two steps of half of it each: rounded once unless the result is denormal.
INLINE vf vf_scale(vf a, vf n) {
  const int32x4_t whole = vcvtnq_s32_f32(n), half = vshrq_n_s32(whole, 1), rest = vsubq_s32(whole, half);
  const int32x4_t one = vdupq_n_s32(127);
  const float32x4_t first = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, one), 23));
  const float32x4_t second = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(rest, one), 23));
  return vmulq_f32(vmulq_f32(a, first), second);
}
INLINE float vf_sum(vf a) { return vaddvq_f32(a); }
INLINE float vf_greatest(vf a) { return vmaxnmvq_f32(a); }

INLINE vi vi_load(const int32_t *p) { return vld1q_s32(p); }
INLINE void vi_store_some(int32_t *p, vi a, size_t count) {
  if (count >= 4) {
    vst1q_s32(p, a);
    return;
  }
  int32_t lanes[4];
  vst1q_s32(lanes, a);
  memcpy(p, lanes, count * 4);
}
INLINE vi vi_set(int32_t a) { return vdupq_n_s32(a); }
INLINE vi vi_add(vi a, vi b) { return vaddq_s32(a, b); }
INLINE vi vi_and(vi a, vi b) { return vandq_s32(a, b); }
INLINE vf vf_of(vi a) { return vcvtq_f32_s32(a); }
