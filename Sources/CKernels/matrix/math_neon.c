// Hot: functions of floats with NEON.
#if defined(__aarch64__)
#define TARGET
#include "vector_neon.h"
#include "math_vector.h"

const mr_math_form mr_math_neon = {map_activation, map_erf, map_softmax, map_log_softmax};
#endif
