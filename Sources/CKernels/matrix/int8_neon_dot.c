// Hot: int8 products with NEON's dot products of four bytes.
#if defined(__aarch64__)
#define TARGET __attribute__((target("dotprod")))
#include "vector_neon.h"

#define FORM mr_int8_neon_dot
enum { TILE_ROWS = 6 };
#define EACH_ROWS EACH_6
#define DOT(sum, value, weights) vdotq_s32(sum, value, weights)
#include "int8_neon.h"
#endif
