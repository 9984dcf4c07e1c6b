// Hot: functions of floats with AVX2 and FMA.
#if defined(__x86_64__)
#define TARGET __attribute__((target("avx2,fma")))
#include "vector_avx2.h"
#include "math_vector.h"

const mr_math_form mr_math_avx2 = {map_activation, map_erf, map_softmax, map_log_softmax};
#endif
