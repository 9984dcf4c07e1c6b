// For kernels only: reading rows with NEON, into the vectors of matrix/.
#pragma once
#define TARGET
#include "../matrix/vector_neon.h"
#include "embedding_internal.h"

/// A vector of values of element `element` (a constant where this is inlined) at `p`; int8: 0...255, not scaled.
INLINE vf row_load(const int element, const uint8_t *p) {
  if (element == MR_ROWS_FLOAT32) return vreinterpretq_f32_u8(vld1q_u8(p));
  if (element == MR_ROWS_BFLOAT16) return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p)), 16));
  uint32_t four;
  memcpy(&four, p, 4);
  uint16x8_t wide = vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four)));
  return vcvtq_f32_u32(vmovl_u16(vget_low_u16(wide)));
}

/// The first `count` values, then zeros; no byte behind them is touched.
INLINE vf row_load_some(const int element, const uint8_t *p, uint32_t count) {
  if (count >= LANES) return row_load(element, p);
  uint8_t some[16] = {0};
  memcpy(some, p, (size_t)count * mr_element_bytes(element));
  return row_load(element, some);
}

/// The first `count` lanes, then zeros.
INLINE vf row_first(vf a, uint32_t count) {
  static const uint32_t lanes[4] = {0, 1, 2, 3};
  return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(a), vcltq_u32(vld1q_u32(lanes), vdupq_n_u32(count))));
}
