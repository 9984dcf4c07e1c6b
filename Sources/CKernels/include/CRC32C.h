#pragma once
#include <stddef.h>
#include <stdint.h>

/* CRC-32C (Castagnoli, RFC 3720), as Kafka's record batches and our own files use it. Start with crc 0; feed the
   result back to continue over more bytes. `mr_crc32c` takes the CPU's instruction where there is one;
   `mr_crc32c_scalar` is the oracle. Thread-safe. */
uint32_t mr_crc32c(uint32_t crc, const void *bytes, size_t count);
uint32_t mr_crc32c_scalar(uint32_t crc, const void *bytes, size_t count);
