// Elementwise operations on single-precision tensors: what graphs need between their matrix products.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// y = f(x, alpha, beta).
enum {
  MR_UNARY_COPY = 0,
  MR_UNARY_RELU = 1,        // max(x, 0)
  MR_UNARY_LEAKY_RELU = 2,  // x < 0 ? alpha x : x
  MR_UNARY_ELU = 3,         // x < 0 ? alpha (exp(x) - 1) : x
  MR_UNARY_SELU = 4,        // beta * elu(x, alpha)
  MR_UNARY_SIGMOID = 5,
  MR_UNARY_TANH = 6,
  MR_UNARY_GELU = 7,       // x (1 + erf(x / sqrt 2)) / 2
  MR_UNARY_GELU_TANH = 8,  // x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
  MR_UNARY_ERF = 9,
  MR_UNARY_EXP = 10,
  MR_UNARY_LOG = 11,
  MR_UNARY_SQRT = 12,
  MR_UNARY_ABS = 13,
  MR_UNARY_NEG = 14,
  MR_UNARY_RECIPROCAL = 15,
  MR_UNARY_SQUARE = 16,
  MR_UNARY_CLIP = 17,  // min(max(x, alpha), beta); NaN stays
  MR_UNARY_SOFTPLUS = 18,
  MR_UNARY_FLOOR = 19,
  MR_UNARY_CEIL = 20,
  MR_UNARY_ROUND = 21,  // ties to even
  MR_UNARY_SIGN = 22,
  MR_UNARY_HARD_SIGMOID = 23,  // max(0, min(1, alpha x + beta))
  MR_UNARY_SCALE = 24,         // alpha x + beta, rounded twice
  MR_UNARY_SOFTSIGN = 25,      // x / (1 + |x|)
  MR_UNARY_HARD_SWISH = 26,    // x max(0, min(1, x / 6 + 1/2))
  MR_UNARY_SWISH = 27,         // x sigmoid(x)
  MR_UNARY_COUNT = 28
};

/// y = f(a, b).
enum {
  MR_BINARY_ADD = 0,
  MR_BINARY_SUB = 1,
  MR_BINARY_MUL = 2,
  MR_BINARY_DIV = 3,
  MR_BINARY_MIN = 4,  // NaN when either is
  MR_BINARY_MAX = 5,
  MR_BINARY_POW = 6,
  MR_BINARY_PRELU = 7,  // a < 0 ? a b : a
  MR_BINARY_FMOD = 8,   // the sign of a
  MR_BINARY_COUNT = 9
};

/// `count` elements; y may be x. Any alignment of 4.
void mr_elementwise_unary(int op, const float *x, float *y, size_t count, float alpha, float beta);

/// `rows` x `columns` elements; element strides of a and b along rows are any, along columns 0 or 1; y's rows are `y_row` apart.
/// y may be a or b where that one's strides are y's.
void mr_elementwise_binary(int op, size_t rows, size_t columns, const float *a, ptrdiff_t a_row, int a_step, const float *b,
                           ptrdiff_t b_row, int b_step, float *y, ptrdiff_t y_row);

/// y[r][c] = x[r][c] * scale[c] + shift[c], rounded twice; `shift` may be null.
void mr_elementwise_affine(size_t rows, size_t columns, const float *x, const float *scale, const float *shift, float *y);

/// (x - mean) / sqrt(variance + epsilon) * scale + bias of each row; scale and bias (may be null) are `columns` long.
/// `means`, `inverses`: null, or one number for each row.
void mr_layer_norm(size_t rows, size_t columns, const float *x, const float *scale, const float *bias, float epsilon, float *y,
                   float *means, float *inverses);
