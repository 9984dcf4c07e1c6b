#pragma once
#include <stddef.h>
#include <stdint.h>

/// libFuzzer's entry for programs that have a main of their own.
int LLVMFuzzerRunDriver(int *_Nonnull argc, char *_Nonnull *_Nonnull *_Nonnull argv,
                        int (*_Nonnull one)(const uint8_t *_Nullable data, size_t size));
