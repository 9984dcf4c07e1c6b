// The peaks of the set in force.
#include "limits_internal.h"
#include "mr_isa.h"
#include "mr_limits.h"

static mr_peaks in_force(void) {
  mr_peaks none = {0, 0, 0};
  switch (mr_isa()) {
#if defined(__x86_64__)
    case MR_ISA_AVX512: {
      mr_peaks peaks = mr_peaks_avx512;
      if (!mr_isa_has_bf16()) peaks.bfloat16 = 0;
      if (!mr_isa_has_vnni()) peaks.int8 = mr_peaks_avx2.int8;
      return peaks;
    }
    case MR_ISA_AVX2: return mr_peaks_avx2;
#elif defined(__aarch64__)
    case MR_ISA_NEON: return mr_peaks_neon;
#endif
    default: return none;
  }
}

double mr_limit_float32(void) {
  const mr_peaks peaks = in_force();
  return peaks.float32 ? peaks.float32() : 0;
}

double mr_limit_bfloat16(void) {
  const mr_peaks peaks = in_force();
  return peaks.bfloat16 ? peaks.bfloat16() : 0;
}

double mr_limit_int8(void) {
  const mr_peaks peaks = in_force();
  return peaks.int8 ? peaks.int8() : 0;
}
