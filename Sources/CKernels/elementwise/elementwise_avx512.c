// AVX-512.
#if defined(__x86_64__)
#define MR_SUFFIX _avx512
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), apply_to = function)
#include "elementwise_body.h"
#pragma clang attribute pop
#else
typedef int mr_elementwise_avx512_empty;
#endif
