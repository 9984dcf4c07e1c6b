#pragma once
#include <stdbool.h>
#include <stdint.h>

/// Counts calls of malloc, calloc, realloc and their aligned kin in the whole test process, ours and the libraries'. Linking this target
/// puts its functions before the C library's, which they call.

/// Calls made by this thread since it began.
uint64_t mr_allocations_of_thread(void);
/// Calls made by all threads.
uint64_t mr_allocations_of_process(void);
/// False where a sanitizer owns malloc and nothing is counted.
bool mr_allocations_are_counted(void);
