// C kernels. One header for each idea; Sources/CKernels/README.md says what always holds.
#pragma once
#include "CRC32C.h"
#include "mr_elementwise.h"
#include "mr_hash.h"
#include "mr_isa.h"
#include "mr_loss.h"
#include "mr_math.h"
#include "mr_matrix.h"
#include "mr_reader.h"
#include "mr_score.h"
#include "mr_speculation.h"
#include "mr_table.h"
