// For kernels only: the forms of each instruction set.
#pragma once
#include "../embedding/embedding_internal.h"
#include "mr_interaction.h"

void mr_fm_scalar(const mr_embedding *, uint32_t, const uint32_t *, const float *, const int32_t *, int32_t, float *);
void mr_dot_scalar(const float *, size_t, uint32_t, uint32_t, int32_t, float *, size_t);
#if defined(__x86_64__)
void mr_fm_avx2(const mr_embedding *, uint32_t, const uint32_t *, const float *, const int32_t *, int32_t, float *);
void mr_dot_avx2(const float *, size_t, uint32_t, uint32_t, int32_t, float *, size_t);
void mr_fm_avx512(const mr_embedding *, uint32_t, const uint32_t *, const float *, const int32_t *, int32_t, float *);
void mr_dot_avx512(const float *, size_t, uint32_t, uint32_t, int32_t, float *, size_t);
#elif defined(__aarch64__)
void mr_fm_neon(const mr_embedding *, uint32_t, const uint32_t *, const float *, const int32_t *, int32_t, float *);
void mr_dot_neon(const float *, size_t, uint32_t, uint32_t, int32_t, float *, size_t);
#endif

/// Where the dot products of vector `i` begin in the output.
static inline size_t mr_triangle(uint32_t i) { return (size_t)i * (i - 1) / 2; }
