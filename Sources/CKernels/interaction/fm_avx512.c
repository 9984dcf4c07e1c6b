// Hot: no allocation.
#if defined(__x86_64__)
#include "../embedding/rows_avx512.h"
#include "interaction_internal.h"

#define FM mr_fm_avx512
#include "fm_body.h"
#endif
