// Hot: no allocation. Everything here is IEEE add, multiply, divide and square root in a fixed order, lane by lane, so that all forms give
// the same bits.
#include "mr_adagrad.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "mr_isa.h"

#pragma STDC FP_CONTRACT OFF

#define BLOCK 16

typedef float vector __attribute__((vector_size(BLOCK * 4)));
typedef int32_t lanes __attribute__((vector_size(BLOCK * 4)));

static inline bool is_finite(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return (bits & UINT32_C(0x7F800000)) != UINT32_C(0x7F800000);
}

/// One weight: the definition that the block forms repeat.
static inline __attribute__((always_inline)) uint32_t step(const mr_adagrad *s, float *w, float *n, float g, float g2, float g_bound,
                                                           float g2_bound) {
  const bool g_good = fabsf(g) <= g_bound, g2_good = g2 >= 0 && g2 <= g2_bound;  // false for NaN
  if (!g_good) g = 0;
  if (!g2_good) g2 = 0;
  const float n1 = *n + g2;
  const float w1 = *w - (s->alpha * g) / (__builtin_sqrtf(n1) + s->epsilon);
  const bool good = is_finite(n1) && is_finite(w1);
  if (good) *n = n1, *w = w1;
  return (uint32_t)!g_good + (uint32_t)!g2_good + (uint32_t)!good;
}

static uint32_t steps_scalar(const mr_adagrad *s, float *w, float *n, const float *g, const float *g2, size_t width, float g_bound,
                             float g2_bound) {
  uint32_t refused = 0;
  for (size_t i = 0; i < width; i++) refused += step(s, &w[i], &n[i], g[i], g2 ? g2[i] : g[i] * g[i], g_bound, g2_bound);
  return refused;
}

/// One weight of row-wise AdaGrad.
static inline __attribute__((always_inline)) uint32_t row_move(float *w, float rate, float g, float g_bound) {
  const bool g_good = fabsf(g) <= g_bound;
  const float w1 = *w - rate * (g_good ? g : 0);
  if (is_finite(w1)) *w = w1;
  return (uint32_t)!g_good + (uint32_t)!is_finite(w1);
}

static float row_squares_scalar(const float *g, size_t width, float g_bound) {
  float sums[BLOCK] = {0};
  for (size_t i = 0; i < width; i++) {
    const float x = fabsf(g[i]) <= g_bound ? g[i] : 0;
    sums[i % BLOCK] += x * x;
  }
  for (int half = BLOCK / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) sums[i] += sums[i + half];
  return sums[0];
}

static uint32_t row_moves_scalar(float *w, float rate, const float *g, size_t width, float g_bound) {
  uint32_t refused = 0;
  for (size_t i = 0; i < width; i++) refused += row_move(&w[i], rate, g[i], g_bound);
  return refused;
}

// Clang keeps IEEE division and square root (no reciprocal estimates) unless fast math is asked for, and it is not.
#define FINITE(x) (((lanes)(x) & 0x7F800000) != 0x7F800000)
#define SIZE(x) ((vector)((lanes)(x) & 0x7FFFFFFF))
#define EITHER(mask, yes, no) ((vector)(((lanes)(yes) & (mask)) | ((lanes)(no) & ~(mask))))
#define COUNT_CLEAR(mask) ((uint32_t)(BLOCK + __builtin_reduce_add(mask)))

#define STEPS_BODY                                                                                           \
  uint32_t refused = 0;                                                                                      \
  size_t i = 0;                                                                                              \
  for (; i + BLOCK <= width; i += BLOCK) {                                                                   \
    vector vw, vn, vg, vg2;                                                                                  \
    memcpy(&vw, w + i, sizeof vw), memcpy(&vn, n + i, sizeof vn), memcpy(&vg, g + i, sizeof vg);             \
    if (g2)                                                                                                  \
      memcpy(&vg2, g2 + i, sizeof vg2);                                                                      \
    else                                                                                                     \
      vg2 = vg * vg;                                                                                         \
    const lanes g_good = SIZE(vg) <= g_bound, g2_good = (vg2 >= 0.0f) & (vg2 <= g2_bound);                   \
    vg = (vector)((lanes)vg & g_good);                                                                       \
    vg2 = (vector)((lanes)vg2 & g2_good);                                                                    \
    const vector n1 = vn + vg2;                                                                              \
    const vector w1 = vw - (s->alpha * vg) / (__builtin_elementwise_sqrt(n1) + s->epsilon);                  \
    const lanes good = FINITE(n1) & FINITE(w1);                                                              \
    vn = EITHER(good, n1, vn);                                                                               \
    vw = EITHER(good, w1, vw);                                                                               \
    memcpy(w + i, &vw, sizeof vw), memcpy(n + i, &vn, sizeof vn);                                            \
    refused += COUNT_CLEAR(g_good) + COUNT_CLEAR(g2_good) + COUNT_CLEAR(good);                               \
  }                                                                                                          \
  for (; i < width; i++) refused += step(s, &w[i], &n[i], g[i], g2 ? g2[i] : g[i] * g[i], g_bound, g2_bound); \
  return refused;

// The rest of a row that is no multiple of 16 adds zeros, which change no sum: squares are not negative.
#define ROW_SQUARES_BODY                                        \
  vector sums = {0};                                            \
  for (size_t i = 0; i < width; i += BLOCK) {                   \
    vector vg = {0};                                            \
    if (width - i >= BLOCK)                                     \
      memcpy(&vg, g + i, sizeof vg);                            \
    else                                                        \
      for (size_t l = 0; l < width - i; l++) vg[l] = g[i + l];  \
    vg = (vector)((lanes)vg & (SIZE(vg) <= g_bound));           \
    sums += vg * vg;                                            \
  }                                                             \
  float last[BLOCK];                                            \
  memcpy(last, &sums, sizeof last);                             \
  for (int half = BLOCK / 2; half > 0; half /= 2)               \
    for (int i = 0; i < half; i++) last[i] += last[i + half];   \
  return last[0];

#define ROW_MOVES_BODY                                                      \
  uint32_t refused = 0;                                                     \
  size_t i = 0;                                                             \
  for (; i + BLOCK <= width; i += BLOCK) {                                  \
    vector vw, vg;                                                          \
    memcpy(&vw, w + i, sizeof vw), memcpy(&vg, g + i, sizeof vg);           \
    const lanes g_good = SIZE(vg) <= g_bound;                               \
    vg = (vector)((lanes)vg & g_good);                                      \
    const vector w1 = vw - rate * vg;                                       \
    const lanes good = FINITE(w1);                                          \
    vw = EITHER(good, w1, vw);                                              \
    memcpy(w + i, &vw, sizeof vw);                                          \
    refused += COUNT_CLEAR(g_good) + COUNT_CLEAR(good);                     \
  }                                                                         \
  for (; i < width; i++) refused += row_move(&w[i], rate, g[i], g_bound);   \
  return refused;

#define FORMS(suffix, attribute)                                                                                                        \
  attribute static uint32_t steps_##suffix(const mr_adagrad *s, float *w, float *n, const float *g, const float *g2, size_t width,      \
                                           float g_bound, float g2_bound) {                                                            \
    STEPS_BODY                                                                                                                          \
  }                                                                                                                                     \
  attribute static float row_squares_##suffix(const float *g, size_t width, float g_bound) { ROW_SQUARES_BODY }                        \
  attribute static uint32_t row_moves_##suffix(float *w, float rate, const float *g, size_t width, float g_bound) { ROW_MOVES_BODY }

#if defined(__x86_64__)
FORMS(avx2, __attribute__((target("avx2"))))
FORMS(avx512, __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw"))))
#elif defined(__aarch64__)
FORMS(neon, )
#endif

typedef struct forms {
  uint32_t (*steps)(const mr_adagrad *, float *, float *, const float *, const float *, size_t, float, float);
  float (*row_squares)(const float *, size_t, float);
  uint32_t (*row_moves)(float *, float, const float *, size_t, float);
} forms;

static forms forms_of(int isa) {
#if defined(__x86_64__)
  if (isa == MR_ISA_AVX512) return (forms){steps_avx512, row_squares_avx512, row_moves_avx512};
  if (isa == MR_ISA_AVX2) return (forms){steps_avx2, row_squares_avx2, row_moves_avx2};
#elif defined(__aarch64__)
  if (isa == MR_ISA_NEON) return (forms){steps_neon, row_squares_neon, row_moves_neon};
#endif
  return (forms){steps_scalar, row_squares_scalar, row_moves_scalar};
}

uint32_t mr_adagrad_step(const mr_adagrad *s, float *w, float *n, const float *g, const float *g2, size_t width, float g_bound,
                         float g2_bound) {
  return forms_of(mr_isa()).steps(s, w, n, g, g2, width, g_bound, g2_bound);
}

static inline uint32_t row_step(const forms *f, const mr_adagrad *s, float *w, float *n, const float *g, size_t width, float g_bound) {
  if (width == 0) return 0;
  const float n1 = *n + f->row_squares(g, width, g_bound) / (float)width;
  const float rate = s->alpha / (__builtin_sqrtf(n1) + s->epsilon);
  if (!is_finite(n1) || !is_finite(rate)) return (uint32_t)width;
  *n = n1;
  return f->row_moves(w, rate, g, width, g_bound);
}

uint32_t mr_adagrad_row_step(const mr_adagrad *s, float *w, float *n, const float *g, size_t width, float g_bound) {
  const forms f = forms_of(mr_isa());
  return row_step(&f, s, w, n, g, width, g_bound);
}

uint64_t mr_adagrad_apply_rows(const mr_adagrad *s, float *w, size_t w_stride, float *n, const uint32_t *rows, size_t count, const float *g,
                               size_t width, float g_bound) {
  enum { AHEAD = 16 };
  const forms f = forms_of(mr_isa());
  uint64_t refused = 0;
  for (size_t i = 0; i < count; i++) {
    if (i + AHEAD < count) {
      const float *next = w + rows[i + AHEAD] * w_stride;
      __builtin_prefetch(n + rows[i + AHEAD], 1, 3);
      for (size_t c = 0; c < width; c += 16) __builtin_prefetch(next + c, 1, 3);
    }
    refused += row_step(&f, s, w + rows[i] * w_stride, n + rows[i], g + i * width, width, g_bound);
  }
  return refused;
}
