// For kernels only: where things lie in a row, and the forms of each instruction set.
#pragma once
#include <string.h>

#include "mr_embedding.h"
#include "mr_hash.h"
#include "mr_isa.h"

/// Entries between the prefetch of a row and its use. Measured: a core has many misses in flight, and gains until some 200 lines are on
/// their way; more would push each other out of the first-level cache.
static inline int32_t mr_rows_ahead(uint32_t bytes) {
  const uint32_t lines = (bytes + 63) / 64, ahead = 192 / lines;
  return (int32_t)(ahead > 96 ? 96 : ahead < 8 ? 8 : ahead);
}

static inline uint32_t mr_head_at(int element) { return element == MR_ROWS_INT8 ? 8 : 0; }
static inline uint32_t mr_values_at(int element, uint32_t head) { return mr_head_at(element) + head * 4; }

static inline const uint8_t *mr_row_at(const mr_embedding *t, uint32_t row) {
  return (const uint8_t *)t->rows + (uint64_t)row * t->row_bytes;
}

static inline __attribute__((always_inline)) uint32_t mr_element_bytes(const int element) {
  return element == MR_ROWS_FLOAT32 ? 4 : element == MR_ROWS_BFLOAT16 ? 2 : 1;
}

static inline float mr_load_float(const void *p) {
  float x;
  memcpy(&x, p, 4);
  return x;
}

static inline float mr_bfloat16_value(uint16_t bits) {
  uint32_t wide = (uint32_t)bits << 16;
  float x;
  memcpy(&x, &wide, 4);
  return x;
}

/// Brings all lines of a row nearer; `bytes` of it are used.
static inline __attribute__((always_inline)) void mr_prefetch_lines(const uint8_t *row, uint32_t bytes) {
  for (uint32_t at = 0; at < bytes; at += 64) __builtin_prefetch(row + at, 0, 3);
  // A row that does not begin at a line ends in one more.
  if (((uintptr_t)row & 63) + ((bytes - 1) & 63) >= 64) __builtin_prefetch(row + bytes - 1, 0, 3);
}

typedef void (*mr_bag_function)(const mr_embedding *, const uint32_t *, const float *, const int32_t *, int32_t, int, float *, size_t);
typedef void (*mr_add_function)(const mr_embedding *, const uint32_t *, const float *, const uint32_t *, size_t, float *, size_t);

void mr_bag_scalar(const mr_embedding *, const uint32_t *, const float *, const int32_t *, int32_t, int, float *, size_t);
void mr_add_scalar(const mr_embedding *, const uint32_t *, const float *, const uint32_t *, size_t, float *, size_t);
void mr_rows_of_scalar(const uint64_t *, size_t, uint32_t, uint32_t, uint32_t *);
#if defined(__x86_64__)
void mr_bag_avx2(const mr_embedding *, const uint32_t *, const float *, const int32_t *, int32_t, int, float *, size_t);
void mr_add_avx2(const mr_embedding *, const uint32_t *, const float *, const uint32_t *, size_t, float *, size_t);
void mr_bag_avx512(const mr_embedding *, const uint32_t *, const float *, const int32_t *, int32_t, int, float *, size_t);
void mr_add_avx512(const mr_embedding *, const uint32_t *, const float *, const uint32_t *, size_t, float *, size_t);
void mr_rows_of_avx512(const uint64_t *, size_t, uint32_t, uint32_t, uint32_t *);
#elif defined(__aarch64__)
void mr_bag_neon(const mr_embedding *, const uint32_t *, const float *, const int32_t *, int32_t, int, float *, size_t);
void mr_add_neon(const mr_embedding *, const uint32_t *, const float *, const uint32_t *, size_t, float *, size_t);
#endif
