#include "mr_isa.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

bool mr_isa_supported(int isa) {
  if (isa == MR_ISA_SCALAR) return true;
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  if (isa == MR_ISA_AVX2) return avx2;
  if (isa == MR_ISA_AVX512)
    return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw");
#elif defined(__aarch64__)
  if (isa == MR_ISA_NEON) return true;
#endif
  return false;
}

static const char *const names[] = {"scalar", "neon", "avx2", "avx512"};

const char *mr_isa_name(int isa) { return isa >= 0 && isa <= MR_ISA_AVX512 ? names[isa] : "unknown"; }

static int chosen_at_start(void) {
  const char *wanted = getenv("MILLRACE_ISA");
  if (wanted)
    for (int isa = MR_ISA_SCALAR; isa <= MR_ISA_AVX512; isa++)
      if (strcmp(wanted, names[isa]) == 0 && mr_isa_supported(isa)) return isa;
  for (int isa = MR_ISA_AVX512; isa > MR_ISA_SCALAR; isa--)
    if (mr_isa_supported(isa)) return isa;
  return MR_ISA_SCALAR;
}

static _Atomic int in_force = -1;

int mr_isa(void) {
  int isa = atomic_load_explicit(&in_force, memory_order_relaxed);
  if (isa < 0) {
    isa = chosen_at_start();
    atomic_store_explicit(&in_force, isa, memory_order_relaxed);
  }
  return isa;
}

int mr_isa_force(int isa) {
  if (mr_isa_supported(isa)) atomic_store_explicit(&in_force, isa, memory_order_relaxed);
  return mr_isa();
}

bool mr_isa_has_vnni(void) {
#if defined(__x86_64__)
  return mr_isa() == MR_ISA_AVX512 && __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

bool mr_isa_has_bf16(void) {
#if defined(__x86_64__)
  return mr_isa() == MR_ISA_AVX512 && __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}
