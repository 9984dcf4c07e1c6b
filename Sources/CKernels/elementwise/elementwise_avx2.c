// AVX2.
#if defined(__x86_64__)
#define MR_SUFFIX _avx2
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#include "elementwise_body.h"
#pragma clang attribute pop
#else
typedef int mr_elementwise_avx2_empty;
#endif
