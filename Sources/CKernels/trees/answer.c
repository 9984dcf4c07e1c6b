// Hot: no allocation. What sums begin with, what they become, and how they travel.
#include <math.h>

#include "forest_internal.h"

/// Whether the base is added before the trees.
static bool begins_with_base(const mr_forest *f, const mr_forest_answer *answer) {
  return answer && f->summation == MR_TREE_SUM_FLOAT && answer->divisor == 1;
}

void mr_forest_begin(const mr_forest *f, const mr_forest_answer *answer, int64_t count, void *sums) {
  const int64_t outputs = f->output_count;
  if (f->summation == MR_TREE_SUM_DOUBLE) {
    double *to = sums;
    for (int64_t i = 0; i < count * outputs; i++) to[i] = 0;
    return;
  }
  float *to = sums;
  if (!begins_with_base(f, answer)) {
    for (int64_t i = 0; i < count * outputs; i++) to[i] = 0;
    return;
  }
  for (int64_t r = 0; r < count; r++)
    for (int64_t o = 0; o < outputs; o++) to[r * outputs + o] = (float)answer->base[o];
}

void mr_forest_finish(const mr_forest *f, const mr_forest_answer *answer, const void *sums, int64_t count, double *values, int elements,
                      void *answers) {
  const int64_t outputs = f->output_count, answered = answer->link == MR_TREE_LINK_ARGMAX ? 1 : outputs;
  const bool is_float = f->summation == MR_TREE_SUM_FLOAT, is_begun = begins_with_base(f, answer);
  for (int64_t r = 0; r < count; r++) {
    for (int64_t o = 0; o < outputs; o++) {
      const double sum = is_float ? (double)((const float *)sums)[r * outputs + o] : ((const double *)sums)[r * outputs + o];
      values[o] = is_begun ? sum : (answer->divisor == 1 ? sum : sum / answer->divisor) + answer->base[o];
    }
    if (answer->link != MR_TREE_LINK_IDENTITY) mr_tree_link(answer->link, answer->scale, values, 1, outputs);
    if (elements == MR_TREE_ROWS_FLOAT)
      for (int64_t o = 0; o < answered; o++) ((float *)answers)[r * answered + o] = (float)values[o];
    else
      for (int64_t o = 0; o < answered; o++) ((double *)answers)[r * answered + o] = values[o];
  }
}

int32_t mr_forest_accumulator_width(const mr_forest *f) { return f->summation == MR_TREE_SUM_FLOAT ? f->output_count : 2 * f->output_count; }

double forest_accumulator_step(double greatest) {
  // Parts are multiples of the step below 2^23 of them: floats hold their sums exactly.
  if (!(greatest > 0) || !isfinite(greatest)) return 0;
  int exponent;
  frexp(greatest, &exponent);
  const double step = ldexp(1, exponent - 22);
  return step >= 0x1p-126 && isfinite((float)greatest) ? step : 0;
}

void mr_forest_accumulate(const mr_forest *f, const void *sums, int64_t count, float *accumulators) {
  const int64_t total = count * f->output_count;
  if (f->summation == MR_TREE_SUM_FLOAT) {
    for (int64_t i = 0; i < total; i++) accumulators[i] += ((const float *)sums)[i];
    return;
  }
  const double step = f->accumulator_step;
  for (int64_t i = 0; i < total; i++) {
    const double sum = ((const double *)sums)[i];
    float high = step > 0 && isfinite(sum) ? (float)(rint(sum / step) * step) : (float)sum;
    const double rest = sum - (double)high;
    accumulators[2 * i] += high;
    if (isfinite(rest)) accumulators[2 * i + 1] += (float)rest;
  }
}

void mr_forest_gather(const mr_forest *f, const float *accumulators, int64_t count, void *sums) {
  const int64_t total = count * f->output_count;
  if (f->summation == MR_TREE_SUM_FLOAT)
    for (int64_t i = 0; i < total; i++) ((float *)sums)[i] = accumulators[i];
  else
    for (int64_t i = 0; i < total; i++) ((double *)sums)[i] = (double)accumulators[2 * i] + (double)accumulators[2 * i + 1];
}
