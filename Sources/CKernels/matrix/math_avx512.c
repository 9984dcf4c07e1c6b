// Hot: functions of floats with AVX-512.
#if defined(__x86_64__)
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#include "vector_avx512.h"
#include "math_vector.h"

const mr_math_form mr_math_avx512 = {map_activation, map_erf, map_softmax, map_log_softmax};
#endif
