// Hot: functions of floats, in the vectors of a vector_*.h that the includer has included. Polynomials are fitted for least relative error on their
// interval (weighted least squares, reweighted until the error levels); each says its error in exact arithmetic.
#pragma once
#include <math.h>
#include <string.h>

#include "matrix_internal.h"

#define POLYNOMIAL_STEP(sum, z, coefficient) sum = vf_fma(sum, z, vf_set(coefficient))

/// e^x. e^x = 2^n e^r, |r| <= ln 2 / 2; e^r = 1 + r + r² P(r), error of P 3e-9. Below -104: 0; above 89: infinity.
INLINE vf math_exp(vf x) {
  // The least and greatest give their second operand when it is NaN.
  x = vf_min(vf_set(89), vf_max(vf_set(-105), x));
  const vf whole = vf_set(12582912.0f);
  const vf n = vf_sub(vf_fma(x, vf_set(1.44269504f), whole), whole);
  // ln 2 in two parts; n times the first is exact.
  vf r = vf_fnma(n, vf_set(0.693359375f), x);
  r = vf_fnma(n, vf_set(-2.12194440e-4f), r);
  vf p = vf_set(1.381453825e-03f);
  POLYNOMIAL_STEP(p, r, 8.368745446e-03f);
  POLYNOMIAL_STEP(p, r, 4.166838899e-02f);
  POLYNOMIAL_STEP(p, r, 1.666652113e-01f);
  POLYNOMIAL_STEP(p, r, 4.999999404e-01f);
  p = vf_add(vf_fma(vf_mul(r, r), p, r), vf_set(1));
  return vf_scale(p, n);
}

/// 1 / (1 + e^-x), below zero as e^x / (1 + e^x): the exponential is never above 1.
INLINE vf math_sigmoid(vf x) {
  const vf e = math_exp(vf_sub(vf_set(0), vf_abs(x)));
  return vf_div(vf_select(vf_less(x, vf_set(0)), e, vf_set(1)), vf_add(vf_set(1), e));
}

/// x (1 + z P(z)), z = x², below 0.625, error 5e-9; else 1 - 2 / (e^2|x| + 1).
INLINE vf math_tanh(vf x) {
  const vf magnitude = vf_abs(x), z = vf_mul(x, x);
  vf p = vf_set(-5.646145903e-03f);
  POLYNOMIAL_STEP(p, z, 2.058775350e-02f);
  POLYNOMIAL_STEP(p, z, -5.372444913e-02f);
  POLYNOMIAL_STEP(p, z, 1.333126575e-01f);
  POLYNOMIAL_STEP(p, z, -3.333327472e-01f);
  const vf near = vf_fma(vf_mul(x, z), p, x);
  const vf exponential = math_exp(vf_add(magnitude, magnitude));
  const vf far = vf_sub(vf_set(1), vf_div(vf_set(2), vf_add(exponential, vf_set(1))));
  return vf_select(vf_less(magnitude, vf_set(0.625f)), near, vf_copy_sign(far, x));
}

/// erfc(t) for t in 0...10.5 (beyond, it has long been 0): e^-t² u Q(u), u = 1 / (1 + 0.3 t), error 2e-8. t² is given in two parts, since what
/// rounding takes off it matters in the exponent: e^-(s + d) = e^-s (1 - d).
INLINE vf math_erfc_positive(vf t, vf square, vf rest) {
  const vf u = vf_div(vf_set(1), vf_fma(t, vf_set(0.3f), vf_set(1)));
  vf q = vf_set(-1.295545548e-01f);
  POLYNOMIAL_STEP(q, u, 4.857293665e-01f);
  POLYNOMIAL_STEP(q, u, -5.126519203e-01f);
  POLYNOMIAL_STEP(q, u, 5.481902361e-01f);
  POLYNOMIAL_STEP(q, u, -9.501185268e-02f);
  POLYNOMIAL_STEP(q, u, 2.150991708e-01f);
  POLYNOMIAL_STEP(q, u, 1.482886672e-01f);
  POLYNOMIAL_STEP(q, u, 1.707234085e-01f);
  POLYNOMIAL_STEP(q, u, 1.691874415e-01f);
  const vf exponential = math_exp(vf_sub(vf_set(0), square));
  return vf_mul(vf_fnma(exponential, rest, exponential), vf_mul(u, q));
}

/// x P(x²) below 1, error 1e-9; else 1 - erfc |x|.
INLINE vf math_erf(vf x) {
  const vf magnitude = vf_abs(x), z = vf_mul(x, x);
  vf p = vf_set(7.853857824e-05f);
  POLYNOMIAL_STEP(p, z, -8.010192541e-04f);
  POLYNOMIAL_STEP(p, z, 5.188327748e-03f);
  POLYNOMIAL_STEP(p, z, -2.685381100e-02f);
  POLYNOMIAL_STEP(p, z, 1.128358543e-01f);
  POLYNOMIAL_STEP(p, z, -3.761262596e-01f);
  POLYNOMIAL_STEP(p, z, 1.128379107e+00f);
  const vf t = vf_min(vf_set(10.5f), magnitude), square = vf_mul(t, t);
  const vf far = vf_sub(vf_set(1), math_erfc_positive(t, square, vf_fma(t, t, vf_sub(vf_set(0), square))));
  return vf_select(vf_less(magnitude, vf_set(1)), vf_mul(x, p), vf_copy_sign(far, x));
}

/// x Φ(x) = x erfc(-x / √2) / 2. Below zero the product of a small number: nothing cancels.
INLINE vf math_gelu(vf x) {
  // 10.5 √2. x² / 2 is exact where x² is.
  const vf magnitude = vf_min(vf_set(14.8f), vf_abs(x)), square = vf_mul(magnitude, magnitude);
  const vf rest = vf_fma(magnitude, magnitude, vf_sub(vf_set(0), square));
  const vf erfc = math_erfc_positive(vf_mul(magnitude, vf_set(0.70710678f)), vf_mul(vf_set(0.5f), square), vf_mul(vf_set(0.5f), rest));
  const vf half = vf_mul(vf_set(0.5f), erfc);
  const vf y = vf_mul(x, vf_select(vf_less(x, vf_set(0)), half, vf_sub(vf_set(1), half)));
  // -inf times zero: the limit is zero.
  return vf_select(vf_less(x, vf_set(-1e30f)), vf_set(0), y);
}

/// x sigmoid(2 √(2/π) (x + 0.044715 x³)), which is x (1 + tanh) / 2.
INLINE vf math_gelu_tanh(vf x) {
  const vf inner = vf_mul(vf_mul(x, vf_set(1.59576912f)), vf_fma(vf_mul(x, x), vf_set(0.044715f), vf_set(1)));
  return vf_select(vf_less(x, vf_set(-1e10f)), vf_set(0), vf_mul(x, math_sigmoid(inner)));
}

INLINE vf math_silu(vf x) { return vf_select(vf_less(x, vf_set(-1e10f)), vf_set(0), vf_mul(x, math_sigmoid(x))); }

/// max(x, 0) + ln(1 + e^-|x|); ln(1 + e) = 2 artanh(s), s = e / (2 + e) <= 1/3: 2 s (1 + s² P(s²)), error 1e-10.
INLINE vf math_softplus(vf x) {
  const vf e = math_exp(vf_sub(vf_set(0), vf_abs(x)));
  const vf s = vf_div(e, vf_add(vf_set(2), e)), z = vf_mul(s, s);
  vf p = vf_set(1.215046942e-01f);
  POLYNOMIAL_STEP(p, z, 1.071382836e-01f);
  POLYNOMIAL_STEP(p, z, 1.430844218e-01f);
  POLYNOMIAL_STEP(p, z, 1.999943852e-01f);
  POLYNOMIAL_STEP(p, z, 3.333333731e-01f);
  const vf twice = vf_add(s, s);
  return vf_add(vf_max(vf_set(0), x), vf_fma(vf_mul(twice, z), p, twice));
}

/// ReLU of NaN is NaN.
INLINE vf math_relu(vf x) { return vf_max(vf_set(0), x); }

#define MATH_MAP(f, x, y, count) \
  do { \
    size_t i = 0; \
    for (; i + LANES <= count; i += LANES) vf_store(y + i, f(vf_load(x + i))); \
    if (i < count) vf_store_some(y + i, f(vf_load_some(x + i, count - i)), count - i); \
  } while (0)

static TARGET void map_erf(const float *x, float *y, size_t count) { MATH_MAP(math_erf, x, y, count); }

static TARGET void map_activation(int activation, const float *x, float *y, size_t count) {
  switch (activation) {
    case MR_ACTIVATION_RELU: MATH_MAP(math_relu, x, y, count); break;
    case MR_ACTIVATION_GELU: MATH_MAP(math_gelu, x, y, count); break;
    case MR_ACTIVATION_GELU_TANH: MATH_MAP(math_gelu_tanh, x, y, count); break;
    case MR_ACTIVATION_SIGMOID: MATH_MAP(math_sigmoid, x, y, count); break;
    case MR_ACTIVATION_TANH: MATH_MAP(math_tanh, x, y, count); break;
    case MR_ACTIVATION_SILU: MATH_MAP(math_silu, x, y, count); break;
    case MR_ACTIVATION_SOFTPLUS: MATH_MAP(math_softplus, x, y, count); break;
    case MR_ACTIVATION_EXPONENTIAL: MATH_MAP(math_exp, x, y, count); break;
    default:
      if (x != y) memmove(y, x, count * sizeof *y);
  }
}

/// The greatest of x, or NaN when there is one; x is not empty.
INLINE float greatest_of(const float *x, size_t count) {
  vf greatest = vf_set(-INFINITY), nans = vf_set(0);
  size_t i = 0;
  for (; i + LANES <= count; i += LANES) {
    const vf value = vf_load(x + i);
    greatest = vf_max(value, greatest);
    nans = vf_select(vf_is_nan(value), value, nans);
  }
  float result = vf_greatest(greatest);
  float poison = vf_sum(nans);
  for (; i < count; i++) {
    if (x[i] > result) result = x[i];
    if (x[i] != x[i]) poison = x[i];
  }
  return poison != poison ? poison : result;
}

/// Sum of e^(x - greatest), which is written to y unless that is null.
INLINE float exponentials(const float *x, float *y, size_t count, float greatest) {
  const vf shift = vf_set(greatest);
  vf sums = vf_set(0);
  size_t i = 0;
  for (; i + LANES <= count; i += LANES) {
    const vf e = math_exp(vf_sub(vf_load(x + i), shift));
    if (y) vf_store(y + i, e);
    sums = vf_add(sums, e);
  }
  float sum = vf_sum(sums);
  if (i < count) {
    float lanes[LANES];
    vf_store(lanes, math_exp(vf_sub(vf_load_some(x + i, count - i), shift)));
    for (size_t lane = 0; i + lane < count; lane++) {
      sum += lanes[lane];
      if (y) y[i + lane] = lanes[lane];
    }
  }
  return sum;
}

static TARGET void map_softmax(const float *x, float *y, size_t count) {
  const float inverse = 1 / exponentials(x, y, count, greatest_of(x, count));
  size_t i = 0;
  for (; i + LANES <= count; i += LANES) vf_store(y + i, vf_mul(vf_load(y + i), vf_set(inverse)));
  for (; i < count; i++) y[i] *= inverse;
}

static TARGET void map_log_softmax(const float *x, float *y, size_t count) {
  const float greatest = greatest_of(x, count);
  const float logarithm = logf(exponentials(x, NULL, count, greatest));
  // Twice subtracted: greatest + logarithm would lose the logarithm's last bits.
  for (size_t i = 0; i < count; i++) y[i] = x[i] - greatest - logarithm;
}
