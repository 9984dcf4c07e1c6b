// Hot: int8 products with AVX2. Bytes are widened to 16 bits, weights as they are read and values when rows are quantized: the instruction that
// multiplies bytes saturates its sums, this one (two products a lane) does not.
#if defined(__x86_64__)
#include <string.h>
#define TARGET __attribute__((target("avx2,fma")))
#include "vector_avx2.h"

enum { TILE_ROWS = 6 };
#define VECTORS 2
#define HALF_VECTORS 1
#define SETS(rows) ((rows) <= 1 ? 4 : (rows) <= 2 ? 2 : 1)
#define EACH_ROWS EACH_6
#define COLUMN_BYTES 2
#define WEIGHT vi
#define LOAD_WEIGHTS(p) _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(p)))
#define VALUE_BYTES 4
#define VALUE vi
#define LOAD_VALUE(p) vi_set(*(const int32_t *)(p))
#define DOT(sum, value, weights) _mm256_add_epi32(sum, _mm256_madd_epi16(value, weights))
#include "tile_integers.h"

static void multiply(const mr_panels *panels, const mr_operand *x, size_t rows, float *y, size_t y_stride) {
  run_tiles(panels, x, rows, y, y_stride, layers, narrow_layers, NULL);
}

static void multiply_raw(const mr_panels *panels, const mr_operand *x, size_t rows, int32_t *y, size_t y_stride) {
  run_tiles(panels, x, rows, y, y_stride, raws, narrow_raws, NULL);
}

/// The greatest magnitude, as bits (above those of infinity when there is a NaN), and whether something is below zero.
INLINE mr_quantization quantization_of(const mr_panels *panels, const float *x, size_t count) {
  __m256i above = _mm256_setzero_si256(), highest = above;
  for (size_t i = 0; i < count; i += 8) {
    const __m256i a = _mm256_castps_si256(count - i >= 8 ? vf_load(x + i) : vf_load_some(x + i, count - i));
    above = _mm256_max_epi32(above, a);
    highest = _mm256_max_epu32(highest, a);
  }
  int32_t signed_lanes[8];
  uint32_t unsigned_lanes[8];
  _mm256_storeu_si256((__m256i *)signed_lanes, above);
  _mm256_storeu_si256((__m256i *)unsigned_lanes, highest);
  uint32_t bits = 0, below = 0;
  for (int lane = 0; lane < 8; lane++) {
    if ((uint32_t)signed_lanes[lane] > bits) bits = (uint32_t)signed_lanes[lane];
    if (unsigned_lanes[lane] >> 31 && (unsigned_lanes[lane] & 0x7fffffffu) > below) below = unsigned_lanes[lane] & 0x7fffffffu;
  }
  if (below > bits) bits = below;
  float magnitude;
  memcpy(&magnitude, &bits, 4);
  return mr_quantization_of(panels, magnitude, below != 0);
}

INLINE __m256i rounded(vf x, const mr_quantization *q, bool clamps) {
  if (clamps) x = vf_min(vf_max(x, vf_set(q->least)), vf_set(q->most));
  return _mm256_and_si256(_mm256_castps_si256(vf_fma(x, vf_set(q->inverse), vf_set(q->rounding))), _mm256_set1_epi32(255));
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
    uint16_t *out = (uint16_t *)((char *)values + r * stride);
    // The row has room for whole cache lines.
    for (size_t i = 0; i < count; i += 16) {
      const bool whole = count - i >= 16;
      const __m256i a = rounded(whole ? vf_load(row + i) : vf_load_some(row + i, count - i), &q, clamps);
      const __m256i b = rounded(whole ? vf_load(row + i + 8) : vf_load_some(row + i + 8, count - i > 8 ? count - i - 8 : 0), &q, clamps);
      _mm256_store_si256((__m256i *)(out + i), _mm256_permute4x64_epi64(_mm256_packus_epi32(a, b), 0xd8));
    }
  }
}

static TARGET void widen(const uint8_t *x, size_t count, size_t padded, void *values) {
  uint16_t *out = values;
  size_t i = 0;
  for (; i + 16 <= count; i += 16)
    _mm256_storeu_si256((__m256i *)(out + i), _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(x + i))));
  for (; i < count; i++) out[i] = x[i];
  for (; i < padded; i++) out[i] = 0;
}

const mr_form mr_int8_avx2 = {
    .width = PANEL, .narrow_width = HALF_PANEL, .group = 2, .weight_bytes = 1, .value_bytes = 2, .tile_rows = TILE_ROWS,
    .multiply = multiply, .multiply_raw = multiply_raw, .narrow = narrow, .widen = widen};
#endif
