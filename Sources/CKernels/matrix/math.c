// Functions of arrays of floats.
#include <math.h>

#include "matrix_internal.h"
#include "mr_isa.h"

static float activate(int activation, float x) {
  switch (activation) {
    case MR_ACTIVATION_RELU: return x < 0 ? 0 : x;
    case MR_ACTIVATION_GELU: return 0.5f * x * erfcf(-x * 0.70710678f);
    case MR_ACTIVATION_GELU_TANH: return x / (1 + expf(-1.5957691f * (x + 0.044715f * x * x * x)));
    case MR_ACTIVATION_SIGMOID: return 1 / (1 + expf(-x));
    case MR_ACTIVATION_TANH: return tanhf(x);
    case MR_ACTIVATION_SILU: return x / (1 + expf(-x));
    case MR_ACTIVATION_SOFTPLUS: return (x > 0 ? x : 0) + log1pf(expf(-fabsf(x)));
    case MR_ACTIVATION_EXPONENTIAL: return expf(x);
    default: return x;
  }
}

void mr_math_exp(const float *x, float *y, size_t count) { mr_math_activate(MR_ACTIVATION_EXPONENTIAL, x, y, count); }
void mr_math_tanh(const float *x, float *y, size_t count) { mr_math_activate(MR_ACTIVATION_TANH, x, y, count); }
void mr_math_sigmoid(const float *x, float *y, size_t count) { mr_math_activate(MR_ACTIVATION_SIGMOID, x, y, count); }

void mr_math_erf(const float *x, float *y, size_t count) {
  for (size_t i = 0; i < count; i++) y[i] = erff(x[i]);
}

void mr_math_activate(int activation, const float *x, float *y, size_t count) {
  for (size_t i = 0; i < count; i++) y[i] = activate(activation, x[i]);
}

void mr_math_softmax(const float *x, float *y, size_t count) {
  float greatest = -INFINITY, sum = 0;
  for (size_t i = 0; i < count; i++) greatest = x[i] > greatest ? x[i] : greatest;
  for (size_t i = 0; i < count; i++) sum += y[i] = expf(x[i] - greatest);
  const float inverse = 1 / sum;
  for (size_t i = 0; i < count; i++) y[i] *= inverse;
}

void mr_math_log_softmax(const float *x, float *y, size_t count) {
  float greatest = -INFINITY, sum = 0;
  for (size_t i = 0; i < count; i++) greatest = x[i] > greatest ? x[i] : greatest;
  for (size_t i = 0; i < count; i++) sum += expf(x[i] - greatest);
  const float logarithm = logf(sum) + greatest;
  for (size_t i = 0; i < count; i++) y[i] = x[i] - logarithm;
}

void mr_math_to_bfloat16(const float *x, uint16_t *y, size_t count) {
  for (size_t i = 0; i < count; i++) y[i] = mr_bfloat16(x[i]);
}

void mr_math_from_bfloat16(const uint16_t *x, float *y, size_t count) {
  for (size_t i = 0; i < count; i++) y[i] = mr_float_of_bfloat16(x[i]);
}
