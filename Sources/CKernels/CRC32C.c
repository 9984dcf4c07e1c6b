#include "CRC32C.h"

#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#endif

/* Reflected Castagnoli polynomial. */
#define CRC32C_POLYNOMIAL 0x82F63B78u

static uint32_t crc_tables[8][256];

__attribute__((constructor)) static void fill_tables(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; bit++) c = (c >> 1) ^ (CRC32C_POLYNOMIAL & (0u - (c & 1u)));
    crc_tables[0][i] = c;
  }
  for (uint32_t i = 0; i < 256; i++)
    for (int t = 1; t < 8; t++)
      crc_tables[t][i] = (crc_tables[t - 1][i] >> 8) ^ crc_tables[0][crc_tables[t - 1][i] & 0xFF];
}

uint32_t mr_crc32c_scalar(uint32_t crc, const void *bytes, size_t count) {
  const uint8_t *p = bytes;
  uint32_t c = ~crc;
  while (count >= 8) {
    uint64_t word = 0;
    for (int i = 0; i < 8; i++) word |= (uint64_t)p[i] << (8 * i);
    word ^= c;
    c = crc_tables[7][word & 0xFF] ^ crc_tables[6][(word >> 8) & 0xFF] ^ crc_tables[5][(word >> 16) & 0xFF] ^
        crc_tables[4][(word >> 24) & 0xFF] ^ crc_tables[3][(word >> 32) & 0xFF] ^
        crc_tables[2][(word >> 40) & 0xFF] ^ crc_tables[1][(word >> 48) & 0xFF] ^ crc_tables[0][word >> 56];
    p += 8;
    count -= 8;
  }
  while (count--) c = (c >> 8) ^ crc_tables[0][(c ^ *p++) & 0xFF];
  return ~c;
}

#if defined(__x86_64__)

/* One stream: 8 bytes for every 3 cycles, the latency of the instruction. Kafka batches are small or are checked
   once, so the simple loop beats interleaved streams on everything but megabyte batches. */
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, const void *bytes, size_t count) {
  const uint8_t *p = bytes;
  uint64_t c = (uint32_t)~crc;
  while (count >= 8) {
    uint64_t word;
    memcpy(&word, p, 8);
    c = _mm_crc32_u64(c, word);
    p += 8;
    count -= 8;
  }
  uint32_t tail = (uint32_t)c;
  while (count--) tail = _mm_crc32_u8(tail, *p++);
  return ~tail;
}

uint32_t mr_crc32c(uint32_t crc, const void *bytes, size_t count) {
  if (__builtin_cpu_supports("sse4.2")) return crc32c_sse42(crc, bytes, count);
  return mr_crc32c_scalar(crc, bytes, count);
}

#elif defined(__aarch64__)

__attribute__((target("+crc"))) static uint32_t crc32c_arm(uint32_t crc, const void *bytes, size_t count) {
  const uint8_t *p = bytes;
  uint32_t c = ~crc;
  while (count >= 8) {
    uint64_t word;
    memcpy(&word, p, 8);
    c = __crc32cd(c, word);
    p += 8;
    count -= 8;
  }
  while (count--) c = __crc32cb(c, *p++);
  return ~c;
}

/* Every 64-bit Arm server since 2015 has the CRC instructions (mandatory from Armv8.1). */
uint32_t mr_crc32c(uint32_t crc, const void *bytes, size_t count) { return crc32c_arm(crc, bytes, count); }

#else

uint32_t mr_crc32c(uint32_t crc, const void *bytes, size_t count) { return mr_crc32c_scalar(crc, bytes, count); }

#endif
