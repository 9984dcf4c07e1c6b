// Hot: no allocation. Four products at a time along the columns, added across lanes at the end.
#if defined(__aarch64__)
#include "../embedding/rows_neon.h"
#include "interaction_internal.h"

void mr_dot_neon(const float *x, size_t x_stride, uint32_t vectors, uint32_t width, int32_t batch_rows, float *y, size_t y_stride) {
  for (int32_t r = 0; r < batch_rows; r++) {
    const float *from = x + (size_t)r * x_stride;
    float *to = y + (size_t)r * y_stride;
    memcpy(to, from, (size_t)width * 4);
    to += width;
    for (uint32_t i = 1; i < vectors; i++) {
      const float *a = from + (size_t)i * width;
      uint32_t j = 0;
      for (; j + 4 <= i; j += 4) {
        const float *b = from + (size_t)j * width;
        vf s0 = vdupq_n_f32(0), s1 = s0, s2 = s0, s3 = s0;
        for (uint32_t c = 0; c < width; c += 4) {
          const uint32_t left = width - c;
          const vf v = vf_load_some(a + c, left);
          s0 = vfmaq_f32(s0, v, vf_load_some(b + c, left));
          s1 = vfmaq_f32(s1, v, vf_load_some(b + width + c, left));
          s2 = vfmaq_f32(s2, v, vf_load_some(b + 2 * (size_t)width + c, left));
          s3 = vfmaq_f32(s3, v, vf_load_some(b + 3 * (size_t)width + c, left));
        }
        vst1q_f32(to, vpaddq_f32(vpaddq_f32(s0, s1), vpaddq_f32(s2, s3)));
        to += 4;
      }
      for (; j < i; j++) {
        const float *b = from + (size_t)j * width;
        vf sum = vdupq_n_f32(0);
        for (uint32_t c = 0; c < width; c += 4) sum = vfmaq_f32(sum, vf_load_some(a + c, width - c), vf_load_some(b + c, width - c));
        *to++ = vaddvq_f32(sum);
      }
    }
  }
}
#endif
