// Hot: no allocation. Chooses the form.
#include "interaction_internal.h"

void mr_dot_interaction(const float *x, size_t x_stride, uint32_t vectors, uint32_t width, int32_t batch_rows, float *y, size_t y_stride) {
  if (vectors == 0 || width == 0) return;
  switch (mr_isa()) {
#if defined(__x86_64__)
    case MR_ISA_AVX512: mr_dot_avx512(x, x_stride, vectors, width, batch_rows, y, y_stride); return;
    case MR_ISA_AVX2: mr_dot_avx2(x, x_stride, vectors, width, batch_rows, y, y_stride); return;
#elif defined(__aarch64__)
    case MR_ISA_NEON: mr_dot_neon(x, x_stride, vectors, width, batch_rows, y, y_stride); return;
#endif
    default: mr_dot_scalar(x, x_stride, vectors, width, batch_rows, y, y_stride);
  }
}

void mr_dot_scalar(const float *x, size_t x_stride, uint32_t vectors, uint32_t width, int32_t batch_rows, float *y, size_t y_stride) {
  for (int32_t r = 0; r < batch_rows; r++) {
    const float *from = x + (size_t)r * x_stride;
    float *to = y + (size_t)r * y_stride;
    memcpy(to, from, (size_t)width * 4);
    to += width;
    for (uint32_t i = 1; i < vectors; i++)
      for (uint32_t j = 0; j < i; j++) {
        float sum = 0;
        for (uint32_t c = 0; c < width; c++) sum += from[(size_t)i * width + c] * from[(size_t)j * width + c];
        *to++ = sum;
      }
  }
}
