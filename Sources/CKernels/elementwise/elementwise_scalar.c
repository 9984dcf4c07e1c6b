// The portable form: the oracle of tests.
#define MR_SUFFIX _scalar
#include "elementwise_body.h"
