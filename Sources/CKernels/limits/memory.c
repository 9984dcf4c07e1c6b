// How fast memory answers.
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>

#include "limits_internal.h"
#include "mr_hash.h"
#include "mr_limits.h"

double mr_limit_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void *map(size_t bytes, bool huge_pages) {
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return NULL;
#if defined(MADV_HUGEPAGE)
  if (madvise(memory, bytes, huge_pages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) != 0 && huge_pages) {
    munmap(memory, bytes);
    return NULL;
  }
#else
  if (huge_pages) {
    munmap(memory, bytes);
    return NULL;
  }
#endif
  // Every page is written: untouched ones are all one page of zeros.
  for (size_t at = 0; at < bytes; at += 4096) ((volatile uint64_t *)memory)[at / 8] = 0;
  return memory;
}

/// Words that are read between two looks at the clock: 8 MiB.
enum { READ_PART = 1 << 20 };

double mr_limit_read(size_t bytes) {
  const size_t words = bytes / 8 / 32 * 32;
  uint64_t *memory = words == 0 ? NULL : map(bytes, true);
  if (!memory && words > 0) memory = map(bytes, false);
  if (!memory) return 0;
  double best = 0;
  volatile uint64_t kept = 0;
  // Best of parts that no cache holds and that are short enough to be undisturbed.
  const size_t part = words < READ_PART ? words : READ_PART;
  for (size_t from = 0; from + part <= words; from += part) {
    const double began = mr_limit_seconds();
    uint64_t sums[8] = {0};
    // Plain loops, which compilers make vectors of; memory is far slower than they.
    for (size_t at = from; at < from + part; at += 32)
      for (int i = 0; i < 8; i++) sums[i] += memory[at + i] + memory[at + 8 + i] + memory[at + 16 + i] + memory[at + 24 + i];
    for (int i = 0; i < 8; i++) kept += sums[i];
    const double rate = (double)part * 8 / (mr_limit_seconds() - began) * 1e-9;
    if (rate > best) best = rate;
  }
  munmap(memory, bytes);
  return best;
}

enum { CHAINS_MAX = 16 };

double mr_limit_line(size_t bytes, int in_flight, bool huge_pages) {
  const uint64_t lines = bytes / 64;
  if (lines == 0 || in_flight < 1) return -1;
  if (in_flight > CHAINS_MAX) in_flight = CHAINS_MAX;
  uint64_t *memory = map(bytes, huge_pages);
  if (!memory) return -1;
  uint64_t state[CHAINS_MAX];
  for (int c = 0; c < in_flight; c++) state[c] = mr_mix64((uint64_t)c + 1);
  // Best of many short rounds: whoever else wants the core disturbs few of them.
  const int steps = 20000 / in_flight;
  double best = 1e9;
  for (int round = 0; round < 100; round++) {
    const double began = mr_limit_seconds();
    for (int s = 0; s < steps; s++)
      for (int c = 0; c < in_flight; c++) {
        // The next line depends on what this one holds: always zero, which the processor does not know.
        const uint64_t line = (uint64_t)((unsigned __int128)state[c] * lines >> 64);
        state[c] = (state[c] + memory[line * 8]) * UINT64_C(0x9E3779B97F4A7C15) + 0x632BE59BD9B4E019;
      }
    const double each = (mr_limit_seconds() - began) * 1e9 / ((double)steps * in_flight);
    if (each < best) best = each;
  }
  volatile uint64_t kept = 0;
  for (int c = 0; c < in_flight; c++) kept += state[c];
  munmap(memory, bytes);
  return best;
}
