// Losses of the linear family: link and gradient. The numbers are the raw values of Model's Loss.
#pragma once
#include <math.h>
#include <stdint.h>

enum { MR_LOSS_NONE = 0, MR_LOSS_LOGISTIC = 1, MR_LOSS_SQUARED = 2, MR_LOSS_POISSON = 3 };

/// Poisson's sums are held within +- this, so that the exponential stays finite.
#define MR_POISSON_SUM_MAX 30.0

/// The prediction that a sum of weights times values stands for; `MR_LOSS_NONE` and squared loss: the sum itself.
static inline double mr_loss_link(int loss, double sum) {
  switch (loss) {
    case MR_LOSS_LOGISTIC: {
      // Each branch exponentiates a number that is not above zero: no overflow, full precision at both ends.
      if (sum >= 0) return 1.0 / (1.0 + exp(-sum));
      double e = exp(sum);
      return e / (1.0 + e);
    }
    case MR_LOSS_POISSON:
      return exp(sum > MR_POISSON_SUM_MAX ? MR_POISSON_SUM_MAX : sum < -MR_POISSON_SUM_MAX ? -MR_POISSON_SUM_MAX : sum);
    default: return sum;
  }
}

/// The derivative of the loss by the sum, in single precision. For each of the three (their links are canonical):
/// prediction - label.
static inline float mr_loss_gradient(int loss, float sum, float label) {
  switch (loss) {
    case MR_LOSS_LOGISTIC: return 1.0f / (1.0f + expf(-sum)) - label;
    case MR_LOSS_POISSON: {
      const float most = (float)MR_POISSON_SUM_MAX;
      return expf(sum > most ? most : sum < -most ? -most : sum) - label;
    }
    default: return sum - label;
  }
}
