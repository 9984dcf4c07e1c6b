#include "CRC32C.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
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

#if defined(__x86_64__) || defined(__aarch64__)

/* The instruction takes 3 cycles and starts each cycle, so one stream makes a third of what the processor can. Longer inputs go as three
   lanes side by side; their sums are joined by moving a sum over the bytes behind it, which is a product modulo the polynomial. */
enum { LONG_LANE = 4096, SHORT_LANE = 256 };

/* x^(8 n - 33) mod P for n bytes, reflected: the factor that moves a sum over n bytes. A carry-less product of two reflected words is
   short of one factor x, and the instruction multiplies by x^32. */
static uint32_t long_factor, short_factor;

static uint32_t power(uint32_t exponent) {
  uint32_t value = 1u << 31;
  while (exponent--) value = (value >> 1) ^ (CRC32C_POLYNOMIAL & (0u - (value & 1u)));
  return value;
}

__attribute__((constructor)) static void fill_factors(void) {
  long_factor = power(8 * LONG_LANE - 33);
  short_factor = power(8 * SHORT_LANE - 33);
}

#if defined(__x86_64__)
#define CRC_TARGET __attribute__((target("sse4.2,pclmul")))
#define STEP64(c, word) _mm_crc32_u64(c, word)
#define STEP8(c, byte) _mm_crc32_u8((uint32_t)(c), byte)

CRC_TARGET static inline uint64_t moved(uint64_t c, uint32_t factor) {
  const __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t)c), _mm_cvtsi64_si128((int64_t)factor), 0);
  return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

#else
#define CRC_TARGET __attribute__((target("+crc")))
#define STEP64(c, word) __crc32cd((uint32_t)(c), word)
#define STEP8(c, byte) __crc32cb((uint32_t)(c), byte)

/* Without the carry-less multiply, which not every Arm processor has: about 100 cycles for two lanes. */
CRC_TARGET static inline uint64_t moved(uint64_t c, uint32_t factor) {
  uint64_t product = 0;
  for (int bit = 0; bit < 32; bit++) product ^= (c << bit) & (0u - (uint64_t)((factor >> bit) & 1u));
  return __crc32cd(0, product);
}
#endif

CRC_TARGET static inline uint64_t word_at(const uint8_t *p) {
  uint64_t word;
  memcpy(&word, p, 8);
  return word;
}

CRC_TARGET static inline uint64_t three_lanes(uint64_t c, const uint8_t *p, size_t lane, uint32_t factor) {
  uint64_t c1 = 0, c2 = 0;
  for (size_t i = 0; i < lane; i += 8) {
    c = STEP64(c, word_at(p + i));
    c1 = STEP64(c1, word_at(p + lane + i));
    c2 = STEP64(c2, word_at(p + 2 * lane + i));
  }
  c1 ^= moved(c, factor);
  return c2 ^ moved(c1, factor);
}

CRC_TARGET static uint32_t crc32c_instruction(uint32_t crc, const void *bytes, size_t count) {
  const uint8_t *p = bytes;
  uint64_t c = (uint32_t)~crc;
  while (count >= 3 * LONG_LANE) {
    c = three_lanes(c, p, LONG_LANE, long_factor);
    p += 3 * LONG_LANE;
    count -= 3 * LONG_LANE;
  }
  while (count >= 3 * SHORT_LANE) {
    c = three_lanes(c, p, SHORT_LANE, short_factor);
    p += 3 * SHORT_LANE;
    count -= 3 * SHORT_LANE;
  }
  while (count >= 8) {
    c = STEP64(c, word_at(p));
    p += 8;
    count -= 8;
  }
  while (count--) c = STEP8(c, *p++);
  return ~(uint32_t)c;
}

#endif

uint32_t mr_crc32c(uint32_t crc, const void *bytes, size_t count) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul")) return crc32c_instruction(crc, bytes, count);
#elif defined(__aarch64__)
  /* Every 64-bit Arm server since 2015 has the CRC instructions (mandatory from Armv8.1). */
  return crc32c_instruction(crc, bytes, count);
#endif
  return mr_crc32c_scalar(crc, bytes, count);
}
