#include "mr_hash.h"

#include <string.h>

// First 64 fractional bits of the square roots of 2, 3, 5 and 7.
#define A UINT64_C(0x6A09E667F3BCC908)
#define B UINT64_C(0xBB67AE8584CAA73B)
#define C UINT64_C(0x3C6EF372FE94F82B)
#define D UINT64_C(0xA54FF53A5F1D36F1)

static inline uint64_t rotl(uint64_t x, int by) { return (x << by) | (x >> (64 - by)); }

static inline uint64_t load64(const uint8_t *p) {
  uint64_t x;
  memcpy(&x, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  x = __builtin_bswap64(x);
#endif
  return x;
}

static inline uint64_t load32(const uint8_t *p) {
  uint32_t x;
  memcpy(&x, p, 4);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  x = __builtin_bswap32(x);
#endif
  return x;
}

uint64_t mr_hash64(const void *data, size_t size, uint64_t seed) {
  const uint8_t *p = data;
  uint64_t state = mr_fold64(seed ^ A, (uint64_t)size ^ B);
  size_t left = size;
  while (left > 16) {
    // The rotated state is added so that an operand that happens to be zero loses nothing before it.
    state = mr_fold64(load64(p) ^ state, load64(p + 8) ^ C) + rotl(state, 29);
    p += 16;
    left -= 16;
  }
  uint64_t x = 0, y = 0;
  if (left >= 8) {
    x = load64(p);
    y = load64(p + left - 8);
  } else if (left >= 4) {
    x = load32(p);
    y = load32(p + left - 4);
  } else if (left > 0) {
    x = (uint64_t)p[0] | (uint64_t)p[left >> 1] << 8 | (uint64_t)p[left - 1] << 16;
  }
  return mr_mix64(mr_fold64(x ^ state ^ C, y ^ rotl(state, 32) ^ D) + x);
}
