// For kernels only: reading rows with AVX-512, into the vectors of matrix/.
#pragma once
#define TARGET __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma,f16c")))
#include "../matrix/vector_avx512.h"
#include "embedding_internal.h"

/// A vector of values of element `element` (a constant where this is inlined) at `p`; int8: 0...255, not scaled.
INLINE vf row_load(const int element, const uint8_t *p) {
  if (element == MR_ROWS_FLOAT32) return _mm512_loadu_ps(p);
  if (element == MR_ROWS_BFLOAT16)
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16));
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
}

/// The first `count` values, then zeros; no byte behind them is touched.
INLINE vf row_load_some(const int element, const uint8_t *p, uint32_t count) {
  const __mmask16 mask = lanes_mask(count);
  if (element == MR_ROWS_FLOAT32) return _mm512_maskz_loadu_ps(mask, p);
  if (element == MR_ROWS_BFLOAT16)
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, p)), 16));
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, p)));
}

/// The first `count` lanes, then zeros.
INLINE vf row_first(vf a, uint32_t count) { return _mm512_maskz_mov_ps(lanes_mask(count), a); }
