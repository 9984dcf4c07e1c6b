// Hot: no allocation.
#if defined(__x86_64__)
#include "../embedding/rows_avx2.h"
#include "interaction_internal.h"

#define FM mr_fm_avx2
#include "fm_body.h"
#endif
