// Hot: no allocation.
#if defined(__aarch64__)
#include "../embedding/rows_neon.h"
#include "interaction_internal.h"

#define FM mr_fm_neon
#include "fm_body.h"
#endif
