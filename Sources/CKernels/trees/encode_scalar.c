// Hot: no allocation. Rows to codes in plain C; compilers make short vectors of the counts.
#include <stdint.h>

static inline uint32_t count_floats(const float *t, float x) {
  uint32_t count = 0;
  for (int i = 0; i < 16; i++) count += t[i] < x;
  return count;
}

static inline uint32_t count_doubles(const double *t, double x) {
  uint32_t count = 0;
  for (int i = 0; i < 16; i++) count += t[i] < x;
  return count;
}

#define TARGET
#define ENCODER forest_encoder_scalar
#include "encode_body.h"
