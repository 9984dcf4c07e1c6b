// Which instruction set the kernels use: chosen once, from the processor and from MILLRACE_ISA.
#pragma once
#include <stdbool.h>

/// Numbers are ranks: a kernel without a form for the set in force takes its best form of a lower number.
enum {
  MR_ISA_SCALAR = 0,
  /// AArch64's base.
  MR_ISA_NEON = 1,
  /// AVX2, FMA and F16C.
  MR_ISA_AVX2 = 2,
  /// AVX-512 F, BW, DQ and VL, with AVX2 as above. VNNI and BF16 are asked for one by one.
  MR_ISA_AVX512 = 3
};

/// The set in force. At first the best that the processor has, or the one that MILLRACE_ISA names (scalar, neon, avx2, avx512) if it has that:
/// another name changes nothing here, and commands refuse to start with it.
int mr_isa(void);
/// Tests force each. Returns what is in force afterwards: asking for one that the processor lacks changes nothing. Kernels ask each time
/// they are called; packed weights remember the set that they were packed for.
int mr_isa_force(int isa);
bool mr_isa_supported(int isa);
/// "scalar", "neon", "avx2", "avx512".
const char *mr_isa_name(int isa);

/// Whether AVX-512 is in force and the processor has its VNNI (int8) or BF16 instructions.
bool mr_isa_has_vnni(void);
bool mr_isa_has_bf16(void);
