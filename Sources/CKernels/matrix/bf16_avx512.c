// Hot: bfloat16 products with AVX-512 BF16: pairs of inputs, float32 sums. The instruction takes denormals as zeros.
#if defined(__x86_64__)
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")))
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
#define DOT(sum, value, weights) _mm512_dpbf16_ps(sum, (__m512bh)(value), (__m512bh)(weights))
#include "tile_floats.h"

#define PRODUCT(sum, x, w) _mm512_dpbf16_ps(sum, (__m512bh)(x), (__m512bh)(w))
#include "single_avx512_floats.h"

static void multiply(const mr_panels *panels, const mr_operand *x, size_t rows, float *y, size_t y_stride) {
  run_tiles(panels, x, rows, y, y_stride, layers, narrow_layers, single);
}

static TARGET void narrow(const mr_panels *panels, const float *x, size_t x_stride, size_t rows, void *values, size_t stride, float *scales,
                          int32_t *masks) {
  (void)scales, (void)masks;
  const size_t count = panels->inputs;
  for (size_t r = 0; r < rows; r++) {
    const float *row = x + r * x_stride;
    uint16_t *out = (uint16_t *)((char *)values + r * stride);
    size_t i = 0;
    for (; i + 32 <= count; i += 32)
      _mm512_store_si512(out + i, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(row + i + 16), _mm512_loadu_ps(row + i)));
    if (i < count) {
      const __mmask32 mask = (__mmask32)((1ull << (count - i)) - 1);
      _mm512_store_si512(out + i, (__m512i)_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps((__mmask16)(mask >> 16), row + i + 16),
                                                               _mm512_maskz_loadu_ps((__mmask16)mask, row + i)));
    }
  }
}

const mr_form mr_bf16_avx512 = {
    .width = PANEL, .narrow_width = HALF_PANEL, .group = 2, .has_single = true, .weight_bytes = 2, .value_bytes = 2,
    .tile_rows = TILE_ROWS, .multiply = multiply, .narrow = narrow};
#endif
