// Hot: float32 products with NEON.
#if defined(__aarch64__)
#define TARGET
#include "vector_neon.h"

enum { TILE_ROWS = 6 };
#define VECTORS 4
#define HALF_VECTORS 2
#define SETS(rows) ((rows) <= 2 ? 2 : 1)
#define EACH_ROWS EACH_6
#define COLUMN_BYTES 4
#define WEIGHT vf
#define LOAD_WEIGHTS(p) vf_load((const float *)(p))
#define VALUE_BYTES 4
#define VALUE vf
#define LOAD_VALUE(p) vld1q_dup_f32((const float *)(p))
#define DOT(sum, value, weights) vf_fma(value, weights, sum)
#include "tile_floats.h"
#include "tile_strided.h"

static void multiply(const mr_panels *panels, const mr_operand *x, size_t rows, float *y, size_t y_stride) {
  run_tiles(panels, x, rows, y, y_stride, layers, narrow_layers, NULL);
}

const mr_form mr_f32_neon = {
    .width = PANEL, .narrow_width = HALF_PANEL, .group = 1, .weight_bytes = 4, .tile_rows = TILE_ROWS, .multiply = multiply,
    .multiply_strided = multiply_strided};
#endif
