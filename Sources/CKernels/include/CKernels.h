// C kernels. One header for each idea; Sources/CKernels/README.md says what always holds.
#pragma once
#include "CRC32C.h"
#include "mr_hash.h"
