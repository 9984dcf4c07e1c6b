// Hot: bfloat16 products with AVX-512 BF16: pairs of inputs, float32 sums. The instruction takes denormals as zeros.
#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")))
#define VECTOR __m512
#define ZERO _mm512_setzero_ps()
#define LOAD(p) _mm512_loadu_ps(p)
#define BROADCAST(p) _mm512_set1_ps(*(const float *)(p))
#define DOT(sum, x, w) _mm512_dpbf16_ps(sum, (__m512bh)(x), (__m512bh)(w))
#define ADD(a, b) _mm512_add_ps(a, b)
#define PREFETCH_BYTES 1024
#include "tile_avx512.h"

static inline __attribute__((always_inline)) TARGET void run(const tile *t, const int R, const int V, const int U) {
  __m512 sums[TILE_ROWS][2];
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < V; v++) sums[r][v] = ZERO;
  tile_sums(sums, t->x, t->x_stride, t->weights, t->weights_stride, t->steps, R, V, U);
  const __m512 floor = _mm512_set1_ps(t->floor);
  UNROLL for (int v = 0; v < V; v++) {
    const __mmask16 mask = column_mask(t->columns, v);
    const __m512 bias = _mm512_loadu_ps(t->bias + 16 * v);
    UNROLL for (int r = 0; r < R; r++) _mm512_mask_storeu_ps((float *)t->y + (size_t)r * t->y_stride + 16 * v, mask,
                                                             _mm512_max_ps(floor, _mm512_add_ps(sums[r][v], bias)));
  }
}

#define DEFINE(R, V, U) \
  static TARGET void tile_##R##_##V(const tile *t) { run(t, R, V, U); }
EACH_TILE(DEFINE, 1)
EACH_TILE(DEFINE, 2)
#define NAME(R, V, U) tile_##R##_##V
static tile_function const tiles[2][TILE_ROWS] = {TILES_OF(NAME, 1), TILES_OF(NAME, 2)};

static void multiply(const mr_panels *panels, const mr_operand *x, size_t rows, float *y, size_t y_stride) {
  run_tiles(panels, x, rows, y, y_stride, tiles);
}

static TARGET void narrow(const mr_panels *panels, const float *x, void *values, float *scale, int32_t *mask) {
  (void)scale, (void)mask;
  uint16_t *out = values;
  const size_t count = panels->inputs;
  size_t i = 0;
  for (; i + 32 <= count; i += 32)
    _mm512_storeu_si512(out + i, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + i + 16), _mm512_loadu_ps(x + i)));
  for (; i < count; i++) out[i] = mr_bfloat16(x[i]);
  if (count & 1) out[count] = 0;
}

const mr_form mr_bf16_avx512 = {
    .width = PANEL, .narrow_width = HALF_PANEL, .group = 2, .weight_bytes = 2, .value_bytes = 2, .tile_rows = TILE_ROWS,
    .multiply = multiply, .narrow = narrow};
#endif
