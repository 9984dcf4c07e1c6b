// Hot: no allocation.
#if defined(__x86_64__)
#include "rows_avx2.h"

#define BAG mr_bag_avx2
#define ADD mr_add_avx2
#include "bag_body.h"
#endif
