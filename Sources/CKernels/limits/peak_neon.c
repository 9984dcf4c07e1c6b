// Peaks of NEON, without the instructions that not every processor has.
#if defined(__aarch64__)
#include <arm_neon.h>

#define TARGET
#include "peak.h"

#define MULTIPLY(sum, a, b) vmlal_s16(sum, vget_low_s16(a), vget_low_s16(b))
PEAK(float32, float32x4_t, vdupq_n_f32(0), float32x4_t, vdupq_n_f32(0.5f), vfmaq_f32, "w", 8)
PEAK(int8, int32x4_t, vdupq_n_s32(0), int16x8_t, vdupq_n_s16(1), MULTIPLY, "w", 8)

const mr_peaks mr_peaks_neon = {float32, 0, int8};
#endif
