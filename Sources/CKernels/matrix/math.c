// Functions of arrays of floats: the portable form, by the C library in double precision, and the choice of form.
#include <math.h>

#include "matrix_internal.h"
#include "mr_isa.h"

static double activate(int activation, double x) {
  switch (activation) {
    case MR_ACTIVATION_RELU: return x < 0 ? 0 : x;
    // The limits at -infinity, where zero is multiplied with it.
    case MR_ACTIVATION_GELU: return x < -40 ? 0 : 0.5 * x * erfc(-x * 0.70710678118654752);
    case MR_ACTIVATION_GELU_TANH: return x < -40 ? 0 : x / (1 + exp(-1.5957691216057308 * (x + 0.044715 * x * x * x)));
    case MR_ACTIVATION_SIGMOID: return 1 / (1 + exp(-x));
    case MR_ACTIVATION_TANH: return tanh(x);
    case MR_ACTIVATION_SILU: return x < -700 ? 0 : x / (1 + exp(-x));
    case MR_ACTIVATION_SOFTPLUS: return (x < 0 ? 0 : x) + log1p(exp(-fabs(x)));
    case MR_ACTIVATION_EXPONENTIAL: return exp(x);
    default: return x;
  }
}

static void map_activation(int activation, const float *x, float *y, size_t count) {
  for (size_t i = 0; i < count; i++) y[i] = (float)activate(activation, x[i]);
}

static void map_erf(const float *x, float *y, size_t count) {
  for (size_t i = 0; i < count; i++) y[i] = (float)erf(x[i]);
}

/// NaN when there is one.
static float greatest_of(const float *x, size_t count) {
  float greatest = -INFINITY;
  for (size_t i = 0; i < count; i++)
    if (!(x[i] <= greatest)) greatest = x[i];
  return greatest;
}

static double exponentials(const float *x, size_t count, float greatest) {
  double sum = 0;
  for (size_t i = 0; i < count; i++) sum += exp((double)x[i] - greatest);
  return sum;
}

static void map_softmax(const float *x, float *y, size_t count) {
  const float greatest = greatest_of(x, count);
  const double sum = exponentials(x, count, greatest);
  for (size_t i = 0; i < count; i++) y[i] = (float)(exp((double)x[i] - greatest) / sum);
}

static void map_log_softmax(const float *x, float *y, size_t count) {
  const float greatest = greatest_of(x, count);
  const double logarithm = log(exponentials(x, count, greatest));
  for (size_t i = 0; i < count; i++) y[i] = (float)((double)x[i] - greatest - logarithm);
}

const mr_math_form mr_math_scalar = {map_activation, map_erf, map_softmax, map_log_softmax};

static const mr_math_form *in_force(void) {
  switch (mr_isa()) {
#if defined(__x86_64__)
    case MR_ISA_AVX512: return &mr_math_avx512;
    case MR_ISA_AVX2: return &mr_math_avx2;
#elif defined(__aarch64__)
    case MR_ISA_NEON: return &mr_math_neon;
#endif
    default: return &mr_math_scalar;
  }
}

void mr_math_activate(int activation, const float *x, float *y, size_t count) {
  if (count > 0) in_force()->activation(activation, x, y, count);
}

void mr_math_exp(const float *x, float *y, size_t count) { mr_math_activate(MR_ACTIVATION_EXPONENTIAL, x, y, count); }
void mr_math_tanh(const float *x, float *y, size_t count) { mr_math_activate(MR_ACTIVATION_TANH, x, y, count); }
void mr_math_sigmoid(const float *x, float *y, size_t count) { mr_math_activate(MR_ACTIVATION_SIGMOID, x, y, count); }

void mr_math_erf(const float *x, float *y, size_t count) {
  if (count > 0) in_force()->erf(x, y, count);
}

void mr_math_softmax(const float *x, float *y, size_t count) {
  if (count > 0) in_force()->softmax(x, y, count);
}

void mr_math_log_softmax(const float *x, float *y, size_t count) {
  if (count > 0) in_force()->log_softmax(x, y, count);
}

void mr_math_to_bfloat16(const float *x, uint16_t *y, size_t count) {
  for (size_t i = 0; i < count; i++) y[i] = mr_bfloat16(x[i]);
}

void mr_math_from_bfloat16(const uint16_t *x, float *y, size_t count) {
  for (size_t i = 0; i < count; i++) y[i] = mr_float_of_bfloat16(x[i]);
}
