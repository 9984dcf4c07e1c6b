// Hot: no allocation. From sums to answers.
#include <math.h>

#include "mr_trees.h"

static double sigmoid(double x) {
  // Each branch exponentiates a number that is not above zero: no overflow, full precision at both ends.
  if (x >= 0) return 1 / (1 + exp(-x));
  const double e = exp(x);
  return e / (1 + e);
}

static double softplus(double x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }

static void softmax(double *v, int64_t outputs, bool skips_zero) {
  double most = -INFINITY, sum = 0;
  for (int64_t o = 0; o < outputs; o++)
    if (v[o] > most) most = v[o];
  for (int64_t o = 0; o < outputs; o++) {
    // SOFTMAX_ZERO leaves what is 0 at 0, and out of the sum.
    if (skips_zero && fabs(v[o]) <= 1e-7) {
      v[o] *= exp(-most);
      continue;
    }
    v[o] = exp(v[o] - most);
    sum += v[o];
  }
  if (sum == 0) return;
  for (int64_t o = 0; o < outputs; o++) v[o] /= sum;
}

static void sigmoid_each(double *v, double scale, int64_t outputs) {
  double sum = 0;
  for (int64_t o = 0; o < outputs; o++) sum += v[o] = sigmoid(scale * v[o]);
  if (sum == 0) return;
  for (int64_t o = 0; o < outputs; o++) v[o] /= sum;
}

static int64_t argmax(const double *v, int64_t outputs) {
  int64_t best = 0;
  for (int64_t o = 1; o < outputs; o++)
    if (v[o] > v[best]) best = o;
  return best;
}

/// The quantile of the normal distribution: P. J. Acklam's rational approximation (relative error 1.15e-9), then one step of Halley's method.
static double probit(double p) {
  static const double a[] = {-3.969683028665376e+01, 2.209460984245205e+02, -2.759285104469687e+02,
                             1.383577518672690e+02,  -3.066479806614716e+01, 2.506628277459239e+00};
  static const double b[] = {-5.447609879822406e+01, 1.615858368580409e+02, -1.556989798598866e+02, 6.680131188771972e+01, -1.328068155288572e+01};
  static const double c[] = {-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00,
                             -2.549732539343734e+00, 4.374664141464968e+00,  2.938163982698783e+00};
  static const double d[] = {7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00, 3.754408661907416e+00};
  if (!(p > 0 && p < 1)) return p == 0 ? -INFINITY : p == 1 ? INFINITY : NAN;
  const double tail = p < 0.5 ? p : 1 - p;
  double x;
  if (tail < 0.02425) {
    const double q = sqrt(-2 * log(tail));
    x = (((((c[0] * q + c[1]) * q + c[2]) * q + c[3]) * q + c[4]) * q + c[5]) / ((((d[0] * q + d[1]) * q + d[2]) * q + d[3]) * q + 1);
    if (p > 0.5) x = -x;
  } else {
    const double q = p - 0.5, r = q * q;
    x = (((((a[0] * r + a[1]) * r + a[2]) * r + a[3]) * r + a[4]) * r + a[5]) * q /
        (((((b[0] * r + b[1]) * r + b[2]) * r + b[3]) * r + b[4]) * r + 1);
  }
  const double e = 0.5 * erfc(-x * 0.70710678118654752440) - p;
  const double u = e * 2.50662827463100050242 * exp(x * x / 2);
  return x - u / (1 + x * u / 2);
}

void mr_tree_link(int link, double scale, double *values, int64_t count, int64_t outputs) {
  const int64_t total = count * outputs;
  switch (link) {
    case MR_TREE_LINK_SIGMOID:
      for (int64_t i = 0; i < total; i++) values[i] = sigmoid(scale * values[i]);
      break;
    case MR_TREE_LINK_SOFTMAX:
      for (int64_t r = 0; r < count; r++) softmax(values + r * outputs, outputs, false);
      break;
    case MR_TREE_LINK_EXPONENTIAL:
      for (int64_t i = 0; i < total; i++) values[i] = exp(values[i]);
      break;
    case MR_TREE_LINK_SIGMOID_EACH:
      for (int64_t r = 0; r < count; r++) sigmoid_each(values + r * outputs, scale, outputs);
      break;
    case MR_TREE_LINK_SIGNED_SQUARE:
      for (int64_t i = 0; i < total; i++) values[i] *= fabs(values[i]);
      break;
    case MR_TREE_LINK_SOFTPLUS:
      for (int64_t i = 0; i < total; i++) values[i] = softplus(values[i]);
      break;
    case MR_TREE_LINK_STEP:
      for (int64_t i = 0; i < total; i++) values[i] = values[i] > 0 ? 1 : 0;
      break;
    case MR_TREE_LINK_ARGMAX:
      // Element r is written when rows up to r have been read.
      for (int64_t r = 0; r < count; r++) values[r] = (double)argmax(values + r * outputs, outputs);
      break;
    case MR_TREE_LINK_PROBIT:
      for (int64_t i = 0; i < total; i++) values[i] = probit(values[i]);
      break;
    case MR_TREE_LINK_SOFTMAX_ZERO:
      for (int64_t r = 0; r < count; r++) softmax(values + r * outputs, outputs, true);
      break;
    default: break;
  }
}
