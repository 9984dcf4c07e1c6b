// Hot: float32 products with AVX-512.
#if defined(__x86_64__)
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#include "vector_avx512.h"

enum { TILE_ROWS = 14 };
#define VECTORS 2
#define HALF_VECTORS 1
#define SETS(rows) ((rows) <= 2 ? 4 : (rows) <= 4 ? 2 : 1)
#define EACH_ROWS EACH_14
#define COLUMN_BYTES 4
#define WEIGHT vf
#define LOAD_WEIGHTS(p) vf_load((const float *)(p))
#define VALUE_BYTES 4
#define VALUE vf
#define LOAD_VALUE(p) vf_set(*(const float *)(p))
#define DOT(sum, value, weights) vf_fma(value, weights, sum)
#include "tile_floats.h"
#include "tile_strided.h"

#define PRODUCT(sum, x, w) _mm512_fmadd_ps(x, w, sum)
#include "single_avx512_floats.h"

static void multiply(const mr_panels *panels, const mr_operand *x, size_t rows, float *y, size_t y_stride) {
  run_tiles(panels, x, rows, y, y_stride, layers, narrow_layers, single);
}

const mr_form mr_f32_avx512 = {
    .width = PANEL, .narrow_width = HALF_PANEL, .group = 1, .has_single = true, .weight_bytes = 4, .tile_rows = TILE_ROWS,
    .multiply = multiply, .multiply_strided = multiply_strided};
#endif
