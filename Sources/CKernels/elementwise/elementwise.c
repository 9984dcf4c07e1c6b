// Which form runs: the best of the instruction set in force.
#include "../include/mr_elementwise.h"

#include "../include/mr_isa.h"
#include "../include/mr_math.h"
#include "../include/mr_matrix.h"

#define MR_FORM(suffix)                                                                                                     \
  void mr_unary##suffix(int, const float *, float *, size_t, float, float);                                                 \
  void mr_binary##suffix(int, size_t, size_t, const float *, ptrdiff_t, int, const float *, ptrdiff_t, int, float *, ptrdiff_t); \
  void mr_affine##suffix(size_t, size_t, const float *, const float *, const float *, float *);                             \
  void mr_layer_norm##suffix(size_t, size_t, const float *, const float *, const float *, float, float *, float *, float *);
MR_FORM(_scalar)
#if defined(__x86_64__)
MR_FORM(_avx2)
MR_FORM(_avx512)
#define MR_CHOOSE(name, ...)                                         \
  switch (mr_isa()) {                                                \
    case MR_ISA_AVX512: name##_avx512(__VA_ARGS__); break;           \
    case MR_ISA_AVX2: name##_avx2(__VA_ARGS__); break;               \
    default: name##_scalar(__VA_ARGS__);                             \
  }
#elif defined(__aarch64__)
MR_FORM(_neon)
#define MR_CHOOSE(name, ...)                                         \
  switch (mr_isa()) {                                                \
    case MR_ISA_NEON: name##_neon(__VA_ARGS__); break;               \
    default: name##_scalar(__VA_ARGS__);                             \
  }
#else
#define MR_CHOOSE(name, ...) name##_scalar(__VA_ARGS__);
#endif

void mr_elementwise_unary(int op, const float *x, float *y, size_t count, float alpha, float beta) {
  switch (op) {
    case MR_UNARY_SIGMOID: mr_math_sigmoid(x, y, count); return;
    case MR_UNARY_TANH: mr_math_tanh(x, y, count); return;
    case MR_UNARY_GELU: mr_math_activate(MR_ACTIVATION_GELU, x, y, count); return;
    case MR_UNARY_GELU_TANH: mr_math_activate(MR_ACTIVATION_GELU_TANH, x, y, count); return;
    case MR_UNARY_ERF: mr_math_erf(x, y, count); return;
    case MR_UNARY_EXP: mr_math_exp(x, y, count); return;
    case MR_UNARY_SOFTPLUS: mr_math_activate(MR_ACTIVATION_SOFTPLUS, x, y, count); return;
    case MR_UNARY_SWISH: mr_math_activate(MR_ACTIVATION_SILU, x, y, count); return;
    default: break;
  }
  MR_CHOOSE(mr_unary, op, x, y, count, alpha, beta)
}

void mr_elementwise_binary(int op, size_t rows, size_t columns, const float *a, ptrdiff_t a_row, int a_step, const float *b,
                           ptrdiff_t b_row, int b_step, float *y, ptrdiff_t y_row) {
  MR_CHOOSE(mr_binary, op, rows, columns, a, a_row, a_step, b, b_row, b_step, y, y_row)
}

void mr_elementwise_affine(size_t rows, size_t columns, const float *x, const float *scale, const float *shift, float *y) {
  MR_CHOOSE(mr_affine, rows, columns, x, scale, shift, y)
}

void mr_layer_norm(size_t rows, size_t columns, const float *x, const float *scale, const float *bias, float epsilon, float *y,
                   float *means, float *inverses) {
  MR_CHOOSE(mr_layer_norm, rows, columns, x, scale, bias, epsilon, y, means, inverses)
}
