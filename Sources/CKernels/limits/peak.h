// The rate of one instruction: CHAINS independent sums in registers. The includer defines TARGET and a DOT(sum, a, b) for each.
#pragma once
#include <stdint.h>

#include "limits_internal.h"

enum { CHAINS = 12, PEAK_STEPS = 30000, PEAK_ROUNDS = 30 };

/// Defines `name`: billions of operations a second, `operations` of them in one DOT. The value passes through an empty assembly, so that no
/// compiler adds the same product up at once. Best of many short rounds: a neighbour on the core disturbs few of them.
#define PEAK(name, SUM, ZERO, VALUE, VALUES, DOT, REGISTER, operations) \
  static TARGET double name(void) { \
    double best = 0; \
    for (int round = 0; round < PEAK_ROUNDS; round++) { \
      SUM sums[CHAINS]; \
      for (int c = 0; c < CHAINS; c++) sums[c] = ZERO; \
      VALUE a = VALUES; \
      const VALUE b = VALUES; \
      const double began = mr_limit_seconds(); \
      for (int s = 0; s < PEAK_STEPS; s++) { \
        __asm__ volatile("" : "+" REGISTER(a)); \
        _Pragma("clang loop unroll(full)") for (int c = 0; c < CHAINS; c++) sums[c] = DOT(sums[c], a, b); \
      } \
      for (int c = 0; c < CHAINS; c++) __asm__ volatile("" : : REGISTER(sums[c])); \
      const double rate = (double)(operations) * CHAINS * PEAK_STEPS / (mr_limit_seconds() - began) * 1e-9; \
      if (rate > best) best = rate; \
    } \
    return best; \
  }
