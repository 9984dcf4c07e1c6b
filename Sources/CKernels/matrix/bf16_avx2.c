// Hot: bfloat16 products with AVX2: pairs of inputs, made floats by shifts as they are read.
#if defined(__x86_64__)
#define TARGET __attribute__((target("avx2,fma")))
#include "vector_avx2.h"

/// Of each pair, the first and the second.
typedef struct pair {
  vf first, second;
} pair;

INLINE pair pair_of(__m256i halves) {
  return (pair){_mm256_castsi256_ps(_mm256_slli_epi32(halves, 16)),
                _mm256_castsi256_ps(_mm256_and_si256(halves, _mm256_set1_epi32((int)0xffff0000)))};
}

enum { TILE_ROWS = 4 };
#define VECTORS 2
#define HALF_VECTORS 1
#define SETS(rows) ((rows) <= 2 ? 2 : 1)
#define EACH_ROWS EACH_4
#define COLUMN_BYTES 4
#define WEIGHT pair
#define LOAD_WEIGHTS(p) pair_of(vi_load((const int32_t *)(p)))
#define VALUE_BYTES 4
#define VALUE pair
#define LOAD_VALUE(p) pair_of(vi_set(*(const int32_t *)(p)))
#define DOT(sum, value, weights) vf_fma((value).second, (weights).second, vf_fma((value).first, (weights).first, sum))
#include "tile_floats.h"

static void multiply(const mr_panels *panels, const mr_operand *x, size_t rows, float *y, size_t y_stride) {
  run_tiles(panels, x, rows, y, y_stride, layers, narrow_layers, NULL);
}

/// Round to nearest even; NaN stays NaN. The halves are the low 16 bits.
INLINE __m256i rounded(vf value) {
  const __m256i bits = _mm256_castps_si256(value), low = _mm256_set1_epi32(1);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), low);
  const __m256i up = _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
  const __m256i quiet = _mm256_or_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(0x40));
  return _mm256_blendv_epi8(up, quiet, _mm256_castps_si256(vf_is_nan(value)));
}

static TARGET void narrow(const mr_panels *panels, const float *x, size_t x_stride, size_t rows, void *values, size_t stride, float *scales,
                          int32_t *masks) {
  (void)scales, (void)masks;
  const size_t count = panels->inputs;
  for (size_t r = 0; r < rows; r++) {
    const float *row = x + r * x_stride;
    uint16_t *out = (uint16_t *)((char *)values + r * stride);
    // The row has room for whole cache lines.
    for (size_t i = 0; i < count; i += 16) {
      const bool whole = count - i >= 16;
      const __m256i a = rounded(whole ? vf_load(row + i) : vf_load_some(row + i, count - i));
      const __m256i b = rounded(whole ? vf_load(row + i + 8) : vf_load_some(row + i + 8, count - i > 8 ? count - i - 8 : 0));
      _mm256_store_si256((__m256i *)(out + i), _mm256_permute4x64_epi64(_mm256_packus_epi32(a, b), 0xd8));
    }
  }
}

const mr_form mr_bf16_avx2 = {
    .width = PANEL, .narrow_width = HALF_PANEL, .group = 2, .weight_bytes = 2, .value_bytes = 2, .tile_rows = TILE_ROWS,
    .multiply = multiply, .narrow = narrow};
#endif
