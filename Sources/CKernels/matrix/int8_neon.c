// Hot: int8 products with the base of NEON: widening products of bytes, added pairwise.
#if defined(__aarch64__)
#define TARGET
#include "vector_neon.h"

INLINE int32x4_t dot(int32x4_t sum, int8x16_t value, int8x16_t weights) {
  const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(value), vget_low_s8(weights)));
  const int32x4_t high = vpaddlq_s16(vmull_high_s8(value, weights));
  return vaddq_s32(sum, vpaddq_s32(low, high));
}

#define FORM mr_int8_neon
enum { TILE_ROWS = 4 };
#define EACH_ROWS EACH_4
#define DOT(sum, value, weights) dot(sum, value, weights)
#include "int8_neon.h"
#endif
