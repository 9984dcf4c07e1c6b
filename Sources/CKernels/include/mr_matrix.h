// Matrix products y = act(x Wᵀ + b) with weights packed once; chains of them; products of operands that come at run time.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// What the products are computed in. Sums are float32 (float32, bfloat16) or int32 (int8). Raw values stand in bundles.
enum { MR_FLOAT32 = 0, MR_BFLOAT16 = 1, MR_INT8 = 2 };

/// What is applied to each output; mr_math.h says how exactly. The numbers stand in bundles.
enum {
  MR_ACTIVATION_NONE = 0,
  MR_ACTIVATION_RELU = 1,
  /// x Φ(x), Φ by the error function.
  MR_ACTIVATION_GELU = 2,
  /// x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2.
  MR_ACTIVATION_GELU_TANH = 3,
  MR_ACTIVATION_SIGMOID = 4,
  MR_ACTIVATION_TANH = 5,
  /// x sigmoid(x).
  MR_ACTIVATION_SILU = 6,
  /// ln(1 + eˣ).
  MR_ACTIVATION_SOFTPLUS = 7,
  MR_ACTIVATION_EXPONENTIAL = 8,
  MR_ACTIVATIONS_END = 9
};

/// 255 * 127 * this fits an int32: int8 layers have at most so many inputs.
#define MR_INT8_INPUTS_MAX 65536

/// What a packed matrix is made from. Nothing is kept of it.
typedef struct mr_matrix_source {
  /// The element of `weights`: MR_FLOAT32, MR_BFLOAT16 (the upper halves of floats) or MR_INT8 (quantized, symmetric: w = scales[o] * q).
  int element;
  const void *weights;
  /// weights[o * output_stride + i * input_stride], in elements.
  ptrdiff_t output_stride, input_stride;
  /// One for each output, with MR_INT8 elements; else null.
  const float *scales;
  /// One for each output, or null.
  const float *bias;
  size_t inputs, outputs;
  int precision, activation;
  /// For int8. Above zero: x = x_scale * (q - x_zero), q in 0...255, for every row; what is outside saturates. Zero: each row has a scale of
  /// its own, from its greatest magnitude, and the zero point 128, or 0 if nothing in the row is negative.
  float x_scale;
  uint8_t x_zero;
} mr_matrix_source;

/// Weights packed for one instruction set. Immutable; any thread.
typedef struct mr_matrix mr_matrix;

/// Packs for the set in force. Null when memory is out. int8 with more inputs than MR_INT8_INPUTS_MAX is packed as float32.
/// float32 weights become int8 by the scale of the output's greatest magnitude / 127; an output with a weight that is not finite gives NaN.
mr_matrix *mr_matrix_create(const mr_matrix_source *source);
void mr_matrix_destroy(mr_matrix *matrix);
int mr_matrix_precision(const mr_matrix *matrix);
int mr_matrix_isa(const mr_matrix *matrix);
size_t mr_matrix_inputs(const mr_matrix *matrix);
size_t mr_matrix_outputs(const mr_matrix *matrix);
/// Of the packed form.
size_t mr_matrix_bytes(const mr_matrix *matrix);

/// Scratch for chains of these layers over `rows` rows (the memory needed stops growing at a few hundred rows).
size_t mr_chain_scratch_bytes(const mr_matrix *const *layers, size_t count, size_t rows);

/// y = the last layer of ... of the first layer of x. Layer l + 1 has as many inputs as layer l has outputs (the caller has checked; count > 0).
/// x: `rows` rows of floats, x_stride floats apart; y likewise; y may not overlap x. `scratch`: 64-byte aligned. Between int8 (or bfloat16)
/// layers a block of rows is narrowed while it is in cache. A row with a value that is not finite gives NaN in every output of an int8 layer.
/// int8 layers with no activation or ReLU give the same bits on every instruction set.
void mr_chain_run(const mr_matrix *const *layers, size_t count, const float *x, size_t x_stride, size_t rows, float *y, size_t y_stride,
                  void *scratch);

/// c = a b (+ c when `accumulates`): a [m, k], b [k, n], each with its strides, in floats, of rows and of columns; c [m, n], row-major, c_stride
/// between rows. Nothing is packed ahead. `scratch`: mr_product_scratch_bytes(k) bytes, 64-byte aligned. The set in force.
void mr_product_f32(const float *a, ptrdiff_t a_row, ptrdiff_t a_column, const float *b, ptrdiff_t b_row, ptrdiff_t b_column, float *c,
                    ptrdiff_t c_stride, size_t m, size_t k, size_t n, bool accumulates, void *scratch);
size_t mr_product_scratch_bytes(size_t k);
/// The same in double precision, plain loops.
void mr_product_f64(const double *a, ptrdiff_t a_row, ptrdiff_t a_column, const double *b, ptrdiff_t b_row, ptrdiff_t b_column, double *c,
                    ptrdiff_t c_stride, size_t m, size_t k, size_t n, bool accumulates);

/// An integer operand b [k, n] packed for raw products (ONNX MatMulInteger, QLinearMatMul). Immutable; any thread.
typedef struct mr_integer_matrix mr_integer_matrix;

/// b[i * row + o * column], bytes; signed or unsigned. `zeros`: zero points, of b's type: one (zero_count 1), one for each column (n), or none (0).
/// Null when memory is out.
mr_integer_matrix *mr_integer_matrix_create(const void *b, bool b_signed, ptrdiff_t row, ptrdiff_t column, size_t k, size_t n,
                                            const void *zeros, size_t zero_count);
void mr_integer_matrix_destroy(mr_integer_matrix *matrix);
/// c[r, o] = Σ (a[r, i] - a_zero_r) (b[i, o] - b_zero_o), modulo 2³². a: `rows` rows of k bytes, a_stride bytes apart, signed or not;
/// `a_zeros`: of a's type: one, one for each row, or none. c_stride in int32. `scratch`: mr_integer_scratch_bytes bytes, 64-byte aligned.
void mr_integer_multiply(const mr_integer_matrix *matrix, const void *a, bool a_signed, size_t a_stride, const void *a_zeros,
                         size_t a_zero_count, size_t rows, int32_t *c, size_t c_stride, void *scratch);
size_t mr_integer_scratch_bytes(const mr_integer_matrix *matrix, size_t rows);
