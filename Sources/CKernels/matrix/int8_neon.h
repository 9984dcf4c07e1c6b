// Hot: int8 products with NEON. Values are kept 128 less, as signed bytes: the products of this processor are of two signed bytes; sums begin with
// what that takes off. The includer defines TARGET, FORM, TILE_ROWS, EACH_ROWS and DOT, after vector_neon.h.
#pragma once
#define VECTORS 4
#define HALF_VECTORS 2
#define SETS(rows) ((rows) <= 2 ? 2 : 1)
#define COLUMN_BYTES 4
#define WEIGHT int8x16_t
#define LOAD_WEIGHTS(p) vld1q_s8((const int8_t *)(p))
#define VALUE_BYTES 4
#define VALUE int8x16_t
#define LOAD_VALUE(p) vreinterpretq_s8_s32(vld1q_dup_s32((const int32_t *)(p)))
#define SIGNED_VALUES
#include "tile_integers.h"

static TARGET void multiply(const mr_panels *panels, const mr_operand *x, size_t rows, float *y, size_t y_stride) {
  run_tiles(panels, x, rows, y, y_stride, layers, narrow_layers, NULL);
}

static TARGET void multiply_raw(const mr_panels *panels, const mr_operand *x, size_t rows, int32_t *y, size_t y_stride) {
  run_tiles(panels, x, rows, y, y_stride, raws, narrow_raws, NULL);
}

INLINE mr_quantization quantization_of(const mr_panels *panels, const float *x, size_t count) {
  int32x4_t above = vdupq_n_s32(0);
  uint32x4_t highest = vdupq_n_u32(0);
  for (size_t i = 0; i < count; i += 4) {
    const vf a = vf_load_some(x + i, count - i);
    above = vmaxq_s32(above, vreinterpretq_s32_f32(a));
    highest = vmaxq_u32(highest, vreinterpretq_u32_f32(a));
  }
  uint32_t bits = (uint32_t)vmaxvq_s32(above);
  const uint32_t top = vmaxvq_u32(highest), below = top >> 31 ? top & 0x7fffffffu : 0;
  if (below > bits) bits = below;
  float magnitude;
  memcpy(&magnitude, &bits, 4);
  return mr_quantization_of(panels, magnitude, below != 0);
}

INLINE uint16x4_t rounded(const float *x, size_t count, const mr_quantization *q, bool clamps) {
  vf value = vf_load_some(x, count);
  if (clamps) value = vf_min(vf_max(value, vf_set(q->least)), vf_set(q->most));
  return vmovn_u32(vreinterpretq_u32_f32(vf_fma(value, vf_set(q->inverse), vf_set(q->rounding))));
}

static TARGET void narrow(const mr_panels *panels, const float *x, size_t x_stride, size_t rows, void *values, size_t stride, float *scales,
                          int32_t *masks) {
  const size_t count = panels->inputs;
  const bool clamps = panels->x_scale > 0;
  for (size_t r = 0; r < rows; r++) {
    const float *row = x + r * x_stride;
    const mr_quantization q = quantization_of(panels, row, count);
    scales[r] = q.scale;
    masks[r] = q.mask;
    // The row has room for whole cache lines.
    uint8_t *out = (uint8_t *)values + r * stride;
    for (size_t i = 0; i < count; i += 8) {
      const size_t left = count - i;
      const uint16x4_t a = rounded(row + i, left, &q, clamps);
      const uint16x4_t b = left > 4 ? rounded(row + i + 4, left - 4, &q, clamps) : vdup_n_u16(0);
      vst1_u8(out + i, veor_u8(vmovn_u16(vcombine_u16(a, b)), vdup_n_u8(128)));
    }
  }
}

static TARGET void widen(const uint8_t *x, size_t count, size_t padded, void *values) {
  uint8_t *out = values;
  for (size_t i = 0; i < count; i++) out[i] = x[i] ^ 128;
  for (size_t i = count; i < padded; i++) out[i] = 0;
}

const mr_form FORM = {
    .width = PANEL, .narrow_width = HALF_PANEL, .group = 4, .has_signed_values = true, .weight_bytes = 1, .value_bytes = 1,
    .tile_rows = TILE_ROWS, .multiply = multiply, .multiply_raw = multiply_raw, .narrow = narrow, .widen = widen};
