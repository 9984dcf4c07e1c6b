// Peaks by instruction set. For kernels only.
#pragma once

typedef struct mr_peaks {
  /// Null where there is no instruction.
  double (*float32)(void);
  double (*bfloat16)(void);
  double (*int8)(void);
} mr_peaks;

extern const mr_peaks mr_peaks_avx2, mr_peaks_avx512, mr_peaks_neon;

/// Monotonic.
double mr_limit_seconds(void);
