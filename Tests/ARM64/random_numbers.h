// Numbers that are the same in each run.
#pragma once
#include <stdint.h>

static uint64_t state = 88172645463325252u;

static uint32_t next(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)(state >> 32);
}

/// In [-1, 1].
static float number(void) { return (float)(int32_t)next() / 2147483648.0f; }
