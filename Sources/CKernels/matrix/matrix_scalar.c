// The portable forms: plain loops, the oracle of all others.
#include <math.h>
#include <string.h>

#include "matrix_internal.h"

static void multiply_f32(const mr_panels *panels, const mr_operand *x, size_t rows, float *y, size_t y_stride) {
  const float *weights = panels->weights;
  for (size_t r = 0; r < rows; r++) {
    const float *row = (const float *)((const char *)x->rows + r * x->stride);
    for (size_t o = 0; o < panels->outputs; o++) {
      float sum = 0;
      for (size_t i = 0; i < panels->steps; i++) sum += row[i] * weights[o * panels->steps + i];
      sum += panels->bias[o];
      y[r * y_stride + o] = sum < panels->floor ? panels->floor : sum;
    }
  }
}

static void multiply_strided_f32(const mr_operand *x, size_t rows, const float *b, size_t b_stride, size_t steps, size_t columns, float *y,
                                 size_t y_stride, bool accumulates) {
  for (size_t r = 0; r < rows; r++) {
    const float *row = (const float *)((const char *)x->rows + r * x->stride);
    for (size_t o = 0; o < columns; o++) {
      float sum = 0;
      for (size_t i = 0; i < steps; i++) sum += row[i] * b[i * b_stride + o];
      y[r * y_stride + o] = accumulates ? y[r * y_stride + o] + sum : sum;
    }
  }
}

static void multiply_bf16(const mr_panels *panels, const mr_operand *x, size_t rows, float *y, size_t y_stride) {
  const uint16_t *weights = panels->weights;
  for (size_t r = 0; r < rows; r++) {
    const uint16_t *row = (const uint16_t *)((const char *)x->rows + r * x->stride);
    for (size_t o = 0; o < panels->outputs; o++) {
      float sum = 0;
      for (size_t i = 0; i < panels->steps; i++)
        sum += mr_float_of_bfloat16(row[i]) * mr_float_of_bfloat16(weights[o * panels->steps + i]);
      sum += panels->bias[o];
      y[r * y_stride + o] = sum < panels->floor ? panels->floor : sum;
    }
  }
}

static void narrow_bf16(const mr_panels *panels, const float *x, size_t x_stride, size_t rows, void *values, size_t stride, float *scales,
                        int32_t *masks) {
  (void)scales, (void)masks;
  for (size_t r = 0; r < rows; r++) {
    uint16_t *narrow = (uint16_t *)((char *)values + r * stride);
    for (size_t i = 0; i < panels->inputs; i++) narrow[i] = mr_bfloat16(x[r * x_stride + i]);
  }
}

/// Sums modulo 2^32.
static int32_t dot_int8(const mr_panels *panels, const uint8_t *row, size_t output, int32_t mask) {
  const int8_t *weights = (const int8_t *)panels->weights + output * panels->steps;
  uint32_t sum = (uint32_t)(panels->corrections[output] & mask);
  for (size_t i = 0; i < panels->steps; i++) sum += (uint32_t)((int32_t)row[i] * weights[i]);
  return (int32_t)sum;
}

static void multiply_int8(const mr_panels *panels, const mr_operand *x, size_t rows, float *y, size_t y_stride) {
  for (size_t r = 0; r < rows; r++) {
    const uint8_t *row = (const uint8_t *)x->rows + r * x->stride;
    for (size_t o = 0; o < panels->outputs; o++) {
      const float scale = x->scales[r] * panels->scales[o];
      const float sum = (float)dot_int8(panels, row, o, x->masks[r]) * scale + panels->bias[o];
      y[r * y_stride + o] = sum < panels->floor ? panels->floor : sum;
    }
  }
}

static void multiply_raw_int8(const mr_panels *panels, const mr_operand *x, size_t rows, int32_t *y, size_t y_stride) {
  for (size_t r = 0; r < rows; r++) {
    const uint8_t *row = (const uint8_t *)x->rows + r * x->stride;
    for (size_t o = 0; o < panels->outputs; o++) y[r * y_stride + o] = dot_int8(panels, row, o, x->masks[r]);
  }
}

static void narrow_row(const mr_panels *panels, const float *x, uint8_t *narrow, float *scale, int32_t *mask) {
  float magnitude = 0;
  bool negative = false, finite = true;
  for (size_t i = 0; i < panels->inputs; i++) {
    const float absolute = fabsf(x[i]);
    if (!(absolute <= 3.40282347e38f)) finite = false;
    if (absolute > magnitude) magnitude = absolute;
    negative |= x[i] < 0;
  }
  const mr_quantization q = mr_quantization_of(panels, finite ? magnitude : INFINITY, negative);
  *scale = q.scale;
  *mask = q.mask;
  for (size_t i = 0; i < panels->inputs; i++) {
    float value = x[i];
    if (panels->x_scale > 0) value = fminf(fmaxf(value, q.least), q.most);
    const float rounded = fmaf(value, q.inverse, q.rounding);
    uint32_t bits;
    memcpy(&bits, &rounded, 4);
    narrow[i] = (uint8_t)bits;
  }
}

static void narrow_int8(const mr_panels *panels, const float *x, size_t x_stride, size_t rows, void *values, size_t stride, float *scales,
                        int32_t *masks) {
  for (size_t r = 0; r < rows; r++) narrow_row(panels, x + r * x_stride, (uint8_t *)values + r * stride, scales + r, masks + r);
}

static void widen_int8(const uint8_t *x, size_t count, size_t padded, void *values) {
  uint8_t *narrow = values;
  for (size_t i = 0; i < count; i++) narrow[i] = x[i];
  for (size_t i = count; i < padded; i++) narrow[i] = 0;
}

const mr_form mr_f32_scalar = {
    .width = 1, .narrow_width = 1, .group = 1, .weight_bytes = 4, .tile_rows = 8, .multiply = multiply_f32,
    .multiply_strided = multiply_strided_f32};
const mr_form mr_bf16_scalar = {
    .width = 1, .narrow_width = 1, .group = 1, .weight_bytes = 2, .value_bytes = 2, .tile_rows = 8, .multiply = multiply_bf16,
    .narrow = narrow_bf16};
const mr_form mr_int8_scalar = {
    .width = 1, .narrow_width = 1, .group = 1, .weight_bytes = 1, .value_bytes = 1, .tile_rows = 8, .multiply = multiply_int8,
    .multiply_raw = multiply_raw_int8, .narrow = narrow_int8, .widen = widen_int8};
