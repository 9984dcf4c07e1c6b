// For kernels only: reading rows with NEON.
#pragma once
#include <arm_neon.h>

#include "embedding_internal.h"

#define MR_NEON_INLINE static inline __attribute__((always_inline))

/// 4 values of element `element` (a constant where this is inlined) at `p`; int8: 0...255, not scaled.
MR_NEON_INLINE float32x4_t mr_load_values4(const int element, const uint8_t *p) {
  if (element == MR_ROWS_FLOAT32) return vreinterpretq_f32_u8(vld1q_u8(p));
  if (element == MR_ROWS_BFLOAT16) return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p)), 16));
  uint32_t four;
  memcpy(&four, p, 4);
  uint16x8_t wide = vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four)));
  return vcvtq_f32_u32(vmovl_u16(vget_low_u16(wide)));
}

/// The first `count` (below 4) values, then zeros; no byte behind them is touched.
MR_NEON_INLINE float32x4_t mr_load_some4(const int element, const uint8_t *p, uint32_t count) {
  uint8_t some[16] = {0};
  memcpy(some, p, (size_t)count * mr_element_bytes(element));
  return mr_load_values4(element, some);
}

MR_NEON_INLINE void mr_store_some4(float *p, float32x4_t x, uint32_t count) {
  float some[4];
  vst1q_f32(some, x);
  memcpy(p, some, (size_t)count * 4);
}
