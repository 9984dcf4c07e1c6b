// Hot: float32 products with AVX-512.
#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#define DOT(sum, x, w) _mm512_fmadd_ps(x, w, sum)
#include "tile_avx512_floats.h"

static inline __attribute__((always_inline)) TARGET void run_strided(const tile *t, const int R, const int V, const int U) {
  __m512 sums[TILE_ROWS][2];
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < V; v++) sums[r][v] = ZERO;
  tile_sums(sums, t->x, t->x_stride, t->weights, t->weights_stride, t->steps, R, V, U);
  UNROLL for (int v = 0; v < V; v++) {
    const __mmask16 mask = column_mask(t->columns, v);
    UNROLL for (int r = 0; r < R; r++) {
      float *y = (float *)t->y + (size_t)r * t->y_stride + 16 * v;
      const __m512 before = t->accumulates ? _mm512_maskz_loadu_ps(mask, y) : ZERO;
      _mm512_mask_storeu_ps(y, mask, _mm512_add_ps(before, sums[r][v]));
    }
  }
}

#define DEFINE_STRIDED(R, V, U) \
  static TARGET void strided_##R##_##V(const tile *t) { run_strided(t, R, V, U); }
EACH_TILE(DEFINE_STRIDED, 2)
#define NAME_STRIDED(R, V, U) strided_##R##_##V
static tile_function const strided_tiles[TILE_ROWS] = TILES_OF(NAME_STRIDED, 2);

static void multiply_strided(const mr_operand *x, size_t rows, const float *b, size_t b_stride, size_t steps, size_t columns, float *y,
                             size_t y_stride, bool accumulates) {
  const size_t count = (rows + TILE_ROWS - 1) / TILE_ROWS;
  tile t = {.x_stride = x->stride, .weights = (const char *)b, .weights_stride = b_stride * 4, .steps = steps, .columns = columns,
            .accumulates = accumulates, .y_stride = y_stride};
  size_t row = 0;
  for (size_t i = 0; i < count; i++) {
    const size_t end = (i + 1) * rows / count;
    t.x = (const char *)x->rows + row * x->stride;
    t.y = y + row * y_stride;
    strided_tiles[end - row - 1](&t);
    row = end;
  }
}

const mr_form mr_f32_avx512 = {
    .width = PANEL, .narrow_width = HALF_PANEL, .group = 1, .has_single = true, .weight_bytes = 4, .tile_rows = TILE_ROWS, .multiply = multiply,
    .multiply_strided = multiply_strided};
#endif
