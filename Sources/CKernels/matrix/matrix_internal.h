// What the forms of the matrix products share. For kernels only.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mr_math.h"
#include "mr_matrix.h"

/// Weights in panels of `form->width` outputs; a panel is [steps][columns][group]: one step takes `group` inputs of all its columns. The
/// last panel may have `form->narrow_width` columns, or one, when the form has a way for it. Panel p begins at byte
/// p * width * steps * group * weight_bytes. Inputs and outputs beyond the matrix are zeros.
typedef struct mr_panels {
  const struct mr_form *form;
  size_t inputs, outputs;
  size_t steps;
  void *weights;
  /// Each for every output, padded with zeros to a multiple of 64. scales and corrections are null unless int8.
  float *bias, *scales;
  /// - zero point * sum of the output's weights: what sums begin with, in rows whose values carry the zero point.
  int32_t *corrections;
  /// Forms with signed values: 128 * sum of the output's weights, where all sums begin. Else null.
  int32_t *starts;
  /// 0, or -infinity: outputs are not below it.
  float floor;
  /// Static quantization of activations; 0: by row.
  float x_scale;
  int32_t x_zero;
  /// Inputs stand in the form's own order within whole blocks of 64; see `mr_step_input`.
  bool interleaved;
} mr_panels;

/// Rows as a form takes them: floats, or narrow values padded with zeros to whole steps.
typedef struct mr_operand {
  const void *rows;
  /// Bytes between rows.
  size_t stride;
  /// int8: the scale of each row, and -1 where its values carry the zero point, 0 where they do not.
  const float *scales;
  const int32_t *masks;
} mr_operand;

/// One way to multiply: a precision in an instruction set.
typedef struct mr_form {
  size_t width, narrow_width, group;
  /// A last panel of one column has its inputs one after the other.
  bool has_single;
  /// int8: values are kept 128 less.
  bool has_signed_values;
  /// Its `narrow` gives inputs interleaved.
  bool interleaves;
  size_t weight_bytes;
  /// Of one narrow activation; 0: rows are taken as floats.
  size_t value_bytes;
  /// Rows of the largest register tile.
  size_t tile_rows;
  void (*multiply)(const mr_panels *panels, const mr_operand *x, size_t rows, float *y, size_t y_stride);
  /// int8: the sums themselves.
  void (*multiply_raw)(const mr_panels *panels, const mr_operand *x, size_t rows, int32_t *y, size_t y_stride);
  /// Rows of floats (x_stride floats apart) to narrow values (stride bytes apart, whole 64-byte lines). int8 gives scales and masks.
  void (*narrow)(const mr_panels *panels, const float *x, size_t x_stride, size_t rows, void *values, size_t stride, float *scales,
                 int32_t *masks);
  /// int8: one row of u8 to narrow values.
  void (*widen)(const uint8_t *x, size_t count, size_t padded, void *values);
  /// float32: with b where it lies, [k, columns] with b_stride floats between rows of it, columns <= width; null: must be packed.
  void (*multiply_strided)(const mr_operand *x, size_t rows, const float *b, size_t b_stride, size_t steps, size_t columns, float *y,
                           size_t y_stride, bool accumulates);
} mr_form;

/// Functions of floats in an instruction set; arrays are not empty.
typedef struct mr_math_form {
  void (*activation)(int activation, const float *x, float *y, size_t count);
  void (*erf)(const float *x, float *y, size_t count);
  void (*softmax)(const float *x, float *y, size_t count);
  void (*log_softmax)(const float *x, float *y, size_t count);
} mr_math_form;

extern const mr_math_form mr_math_scalar, mr_math_avx2, mr_math_avx512, mr_math_neon;

extern const mr_form mr_f32_scalar, mr_bf16_scalar, mr_int8_scalar;
#if defined(__x86_64__)
extern const mr_form mr_f32_avx2, mr_bf16_avx2, mr_int8_avx2;
extern const mr_form mr_f32_avx512, mr_bf16_avx512, mr_int8_avx512;
#elif defined(__aarch64__)
extern const mr_form mr_f32_neon, mr_bf16_neon, mr_int8_neon, mr_int8_neon_dot;
#endif

/// The form for `precision` in the set in force: that set's, or the best of a lower one.
const mr_form *mr_form_in_force(int precision);

static inline size_t mr_round_up(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

/// Where the columns of panel `p` of a form begin and how many there are.
static inline size_t mr_panel_columns(const mr_form *form, size_t outputs, size_t first) {
  const size_t left = outputs - first;
  if (left == 1 && form->has_single) return 1;
  return left <= form->narrow_width ? form->narrow_width : form->width;
}

/// Where input `i` stands among the inputs of a row. Interleaved: within each whole block of 64, step j of its 16 steps takes inputs j, 16 + j,
/// 32 + j and 48 + j: the bytes of four vectors of sixteen floats, joined by shifts.
static inline size_t mr_input_place(const mr_panels *panels, size_t i) {
  if (!panels->interleaved || i >= panels->inputs / 64 * 64) return i;
  const size_t within = i % 64;
  return i - within + within % 16 * 4 + within / 16;
}

/// Bytes between narrow rows: whole cache lines.
static inline size_t mr_narrow_stride(const mr_form *form, size_t inputs) {
  return mr_round_up(mr_round_up(inputs, form->group) * form->value_bytes, 64);
}

static inline uint16_t mr_bfloat16(float value) {
  union {
    float f;
    uint32_t u;
  } bits = {.f = value};
  if ((bits.u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits.u >> 16 | 0x40u);
  return (uint16_t)((bits.u + 0x7fffu + (bits.u >> 16 & 1u)) >> 16);
}

static inline float mr_float_of_bfloat16(uint16_t value) {
  union {
    uint32_t u;
    float f;
  } bits = {.u = (uint32_t)value << 16};
  return bits.f;
}

/// How a row becomes u8, q = x * inverse + zero point rounded to nearest even. All forms take it from here and compute the low byte of
/// fma(x, inverse, rounding), so that all give the same integers: at 1.5 * 2^23 a float's last bit is worth 1.
typedef struct mr_quantization {
  float inverse, rounding;
  /// x is kept within these first, when the scale does not come from the row.
  float least, most;
  /// Of the result; NaN when the row has a value that is not finite.
  float scale;
  int32_t mask;
} mr_quantization;

/// A row whose values are all below this quantizes to zeros: the inverse of its scale would overflow.
#define MR_QUANTIZED_MIN 1e-30f
#define MR_ROUNDING 12582912.0f

/// `magnitude`: the row's greatest, infinity or NaN when one of its values is so. `negative`: one is below zero.
static inline mr_quantization mr_quantization_of(const mr_panels *panels, float magnitude, bool negative) {
  mr_quantization result;
  const bool finite = magnitude <= 3.40282347e38f;
  if (panels->x_scale > 0) {
    result.inverse = finite ? 1.0f / panels->x_scale : 0;
    result.rounding = MR_ROUNDING + (float)panels->x_zero;
    result.least = -(float)panels->x_zero * panels->x_scale;
    result.most = (float)(255 - panels->x_zero) * panels->x_scale;
    result.scale = finite ? panels->x_scale : __builtin_nanf("");
    result.mask = -1;
    return result;
  }
  const float steps = negative ? 127.0f : 255.0f;
  const bool usable = finite && magnitude >= MR_QUANTIZED_MIN;
  result.inverse = usable ? steps / magnitude : 0;
  result.rounding = negative ? MR_ROUNDING + 128 : MR_ROUNDING;
  result.least = result.most = 0;
  result.scale = usable ? magnitude / steps : finite ? 0 : __builtin_nanf("");
  result.mask = negative ? -1 : 0;
  return result;
}
