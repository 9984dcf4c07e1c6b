// Hot: no allocation.
#if defined(__aarch64__)
#include "rows_neon.h"

#define BAG mr_bag_neon
#define ADD mr_add_neon
#include "bag_body.h"
#endif
