// AArch64's base: the compiler's own vectors.
#if defined(__aarch64__)
#define MR_SUFFIX _neon
#include "elementwise_body.h"
#else
typedef int mr_elementwise_neon_empty;
#endif
