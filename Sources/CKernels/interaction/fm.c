// Hot: no allocation. Chooses the form; the finish is short enough to be the compiler's.
#include "interaction_internal.h"

void mr_fm_partial(const mr_embedding *t, uint32_t outputs, const uint32_t *rows, const float *weights, const int32_t *ends,
                   int32_t batch_rows, float *accumulators) {
  if (outputs == 0 || batch_rows <= 0) return;
  switch (mr_isa()) {
#if defined(__x86_64__)
    case MR_ISA_AVX512:
      // Up to eight factors: half vectors without masks take two thirds of the time.
      if (t->width / outputs > 8)
        mr_fm_avx512(t, outputs, rows, weights, ends, batch_rows, accumulators);
      else
        mr_fm_avx2(t, outputs, rows, weights, ends, batch_rows, accumulators);
      return;
    case MR_ISA_AVX2: mr_fm_avx2(t, outputs, rows, weights, ends, batch_rows, accumulators); return;
#elif defined(__aarch64__)
    case MR_ISA_NEON: mr_fm_neon(t, outputs, rows, weights, ends, batch_rows, accumulators); return;
#endif
    default: mr_fm_scalar(t, outputs, rows, weights, ends, batch_rows, accumulators);
  }
}

void mr_fm_finish(uint32_t outputs, uint32_t k, const float *bias, const float *accumulators, int32_t batch_rows, float *margins) {
  const size_t wide = (size_t)k + 2;
  for (int32_t r = 0; r < batch_rows; r++)
    for (uint32_t o = 0; o < outputs; o++) {
      const float *a = accumulators + ((size_t)r * outputs + o) * wide;
      // Four sums, so that additions need not wait for each other.
      float sums[4] = {0};
      uint32_t i = 0;
      for (; i + 4 <= k; i += 4)
        for (uint32_t l = 0; l < 4; l++) sums[l] += a[1 + i + l] * a[1 + i + l];
      for (; i < k; i++) sums[0] += a[1 + i] * a[1 + i];
      margins[(size_t)r * outputs + o] = bias[o] + a[0] + ((sums[0] + sums[1]) + (sums[2] + sums[3]) - a[1 + k]) * 0.5f;
    }
}
