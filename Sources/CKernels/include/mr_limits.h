// What this machine can do at most, measured on one thread: what kernels are compared with. Each takes tens to hundreds of milliseconds.
#pragma once
#include <stdbool.h>
#include <stddef.h>

/// Billions of operations a second (a multiplication and an addition are two) of the best instruction of the set in force, by independent sums in
/// registers; best of several rounds. The scalar set: 0. bfloat16 without an instruction for it, and int8 with none: 0 too.
double mr_limit_float32(void);
double mr_limit_bfloat16(void);
double mr_limit_int8(void);

/// Billions of bytes a second that are read from `bytes` of memory in order; best of several rounds. 0 when memory is out.
double mr_limit_read(size_t bytes);

/// Nanoseconds for each 64-byte line read at random from a table of `bytes`, with `in_flight` independent chains (1...16), on huge pages or on small
/// ones. Below 0 when memory is out or the kernel takes no advice about pages.
double mr_limit_line(size_t bytes, int in_flight, bool huge_pages);
