// Hot: bfloat16 products with NEON: pairs of inputs, made floats by shifts as they are read.
#if defined(__aarch64__)
#define TARGET
#include "vector_neon.h"

/// Of each pair, the first and the second.
typedef struct pair {
  vf first, second;
} pair;

INLINE pair pair_of(uint32x4_t halves) {
  return (pair){vreinterpretq_f32_u32(vshlq_n_u32(halves, 16)), vreinterpretq_f32_u32(vandq_u32(halves, vdupq_n_u32(0xffff0000u)))};
}

enum { TILE_ROWS = 4 };
#define VECTORS 4
#define HALF_VECTORS 2
#define SETS(rows) ((rows) <= 1 ? 2 : 1)
#define EACH_ROWS EACH_4
#define COLUMN_BYTES 4
#define WEIGHT pair
#define LOAD_WEIGHTS(p) pair_of(vld1q_u32((const uint32_t *)(p)))
#define VALUE_BYTES 4
#define VALUE pair
#define LOAD_VALUE(p) pair_of(vld1q_dup_u32((const uint32_t *)(p)))
#define DOT(sum, value, weights) vf_fma((value).second, (weights).second, vf_fma((value).first, (weights).first, sum))
#include "tile_floats.h"

static void multiply(const mr_panels *panels, const mr_operand *x, size_t rows, float *y, size_t y_stride) {
  run_tiles(panels, x, rows, y, y_stride, layers, narrow_layers, NULL);
}

/// Round to nearest even; NaN stays NaN.
INLINE uint16x4_t rounded(vf value) {
  const uint32x4_t bits = vreinterpretq_u32_f32(value), high = vshrq_n_u32(bits, 16);
  const uint32x4_t odd = vandq_u32(high, vdupq_n_u32(1));
  const uint32x4_t up = vshrq_n_u32(vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff))), 16);
  return vmovn_u32(vbslq_u32(vf_is_nan(value), vorrq_u32(high, vdupq_n_u32(0x40)), up));
}

static void narrow(const mr_panels *panels, const float *x, size_t x_stride, size_t rows, void *values, size_t stride, float *scales,
                   int32_t *masks) {
  (void)scales, (void)masks;
  const size_t count = panels->inputs;
  for (size_t r = 0; r < rows; r++) {
    const float *row = x + r * x_stride;
    // The row has room for whole cache lines.
    uint16_t *out = (uint16_t *)((char *)values + r * stride);
    for (size_t i = 0; i < count; i += 4) vst1_u16(out + i, rounded(vf_load_some(row + i, count - i)));
  }
}

const mr_form mr_bf16_neon = {
    .width = PANEL, .narrow_width = HALF_PANEL, .group = 2, .weight_bytes = 2, .value_bytes = 2, .tile_rows = TILE_ROWS,
    .multiply = multiply, .narrow = narrow};
#endif
