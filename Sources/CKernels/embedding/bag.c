// Hot: no allocation. Chooses the form.
#include "embedding_internal.h"

void mr_embedding_bag(const mr_embedding *t, const uint32_t *rows, const float *weights, const int32_t *ends, int32_t bags, int mode,
                      float *out, size_t out_stride) {
  switch (mr_isa()) {
#if defined(__x86_64__)
    case MR_ISA_AVX512: mr_bag_avx512(t, rows, weights, ends, bags, mode, out, out_stride); return;
    case MR_ISA_AVX2: mr_bag_avx2(t, rows, weights, ends, bags, mode, out, out_stride); return;
#elif defined(__aarch64__)
    case MR_ISA_NEON: mr_bag_neon(t, rows, weights, ends, bags, mode, out, out_stride); return;
#endif
    default: mr_bag_scalar(t, rows, weights, ends, bags, mode, out, out_stride);
  }
}

void mr_embedding_add(const mr_embedding *t, const uint32_t *rows, const float *weights, const uint32_t *slots, size_t count, float *out,
                      size_t slot_stride) {
  switch (mr_isa()) {
#if defined(__x86_64__)
    case MR_ISA_AVX512: mr_add_avx512(t, rows, weights, slots, count, out, slot_stride); return;
    case MR_ISA_AVX2: mr_add_avx2(t, rows, weights, slots, count, out, slot_stride); return;
#elif defined(__aarch64__)
    case MR_ISA_NEON: mr_add_neon(t, rows, weights, slots, count, out, slot_stride); return;
#endif
    default: mr_add_scalar(t, rows, weights, slots, count, out, slot_stride);
  }
}
