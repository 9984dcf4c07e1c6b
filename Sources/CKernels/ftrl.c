// Hot: no allocation but when a table grows. Everything here is IEEE add, subtract, multiply, divide and square root in
// a fixed order, lane by lane, so that the vector forms give the bits of the scalar one.
#include <math.h>
#include <stdlib.h>

#include "mr_isa.h"
#include "mr_loss.h"
#include "table_internal.h"

#pragma STDC FP_CONTRACT OFF

#define BLOCK 16

typedef struct block {
  _Alignas(64) float z[BLOCK], n[BLOCK], w[BLOCK], g[BLOCK], g2[BLOCK];
} block;

static inline bool is_finite(float x) { return (mr_float_bits(x) & UINT32_C(0x7F800000)) != UINT32_C(0x7F800000); }

static inline __attribute__((always_inline)) float weight(const mr_ftrl *f, float z, float root_n) {
  if (fabsf(z) <= f->l1) return 0;
  float shrunk = copysignf(f->l1, z) - z;
  return shrunk / ((f->beta + root_n) / f->alpha + f->l2);
}

float mr_ftrl_weight(const mr_ftrl *f, float z, float n) { return weight(f, z, __builtin_sqrtf(n)); }

/// One row: the definition that the block forms repeat. A step whose result is not finite is not taken.
static inline __attribute__((always_inline)) bool step(const mr_ftrl *f, float *z, float *n, float *w, float g, float g2) {
  float n1 = *n + g2;
  float root = __builtin_sqrtf(n1);
  float sigma = (root - __builtin_sqrtf(*n)) / f->alpha;
  float z1 = *z + (g - sigma * *w);
  float w1 = weight(f, z1, root);
  if (!(is_finite(n1) && is_finite(z1) && is_finite(w1))) return false;
  *z = z1;
  *n = n1;
  *w = w1;
  return true;
}

bool mr_ftrl_step(const mr_ftrl *f, mr_row *row, float gradient_sum, float square_sum) {
  return step(f, &row->z, &row->n, &row->w, gradient_sum, square_sum);
}

static uint32_t block_scalar(const mr_ftrl *f, block *b) {
  uint32_t refused = 0;
  for (int i = 0; i < BLOCK; i++) refused += !step(f, &b->z[i], &b->n[i], &b->w[i], b->g[i], b->g2[i]);
  return refused;
}

#if defined(__x86_64__)
typedef float vector __attribute__((vector_size(BLOCK * 4)));
typedef int32_t lanes __attribute__((vector_size(BLOCK * 4)));

// Clang keeps IEEE division and square root (no reciprocal estimates) unless fast math is asked for, and it is not.
#define BLOCK_BODY                                                                                        \
  vector z, n, w, g, g2;                                                                                  \
  memcpy(&z, b->z, sizeof z), memcpy(&n, b->n, sizeof n), memcpy(&w, b->w, sizeof w);                      \
  memcpy(&g, b->g, sizeof g), memcpy(&g2, b->g2, sizeof g2);                                               \
  vector n1 = n + g2;                                                                                     \
  vector root = __builtin_elementwise_sqrt(n1);                                                           \
  vector sigma = (root - __builtin_elementwise_sqrt(n)) / f->alpha;                                        \
  vector z1 = z + (g - sigma * w);                                                                        \
  lanes bits = (lanes)z1;                                                                                 \
  vector size = (vector)(bits & 0x7FFFFFFF);                                                              \
  union { float f; int32_t i; } l1 = {f->l1};                                                             \
  vector signed_l1 = (vector)((bits & INT32_MIN) | l1.i);                                                 \
  vector w1 = (signed_l1 - z1) / ((f->beta + root) / f->alpha + f->l2);                                    \
  w1 = (vector)((lanes)w1 & ~(lanes)(size <= f->l1));                                                     \
  const int32_t exponent = 0x7F800000;                                                                    \
  lanes good = (((lanes)n1 & exponent) != exponent) & ((bits & exponent) != exponent) &                   \
               (((lanes)w1 & exponent) != exponent);                                                      \
  z = (vector)(((lanes)z1 & good) | ((lanes)z & ~good));                                                  \
  n = (vector)(((lanes)n1 & good) | ((lanes)n & ~good));                                                  \
  w = (vector)(((lanes)w1 & good) | ((lanes)w & ~good));                                                  \
  memcpy(b->z, &z, sizeof z), memcpy(b->n, &n, sizeof n), memcpy(b->w, &w, sizeof w);                      \
  return (uint32_t)(BLOCK + __builtin_reduce_add(good));

__attribute__((target("avx2"))) static uint32_t block_avx2(const mr_ftrl *f, block *b) { BLOCK_BODY }
__attribute__((target("avx512f,avx512dq,avx512vl,avx512bw"))) static uint32_t block_avx512(const mr_ftrl *f, block *b) { BLOCK_BODY }
#endif

typedef uint32_t (*block_function)(const mr_ftrl *, block *);

static block_function block_of(int isa) {
#if defined(__x86_64__)
  if (isa == MR_ISA_AVX512) return block_avx512;
  if (isa == MR_ISA_AVX2) return block_avx2;
#endif
  return block_scalar;
}

bool mr_float_environment_set(void) {
#if defined(__x86_64__)
  // Bits 13-14 rounding, 15 flush to zero, 6 denormals are zero.
  uint32_t now = __builtin_ia32_stmxcsr();
  bool right = (now & UINT32_C(0xE040)) == 0;
  if (!right) __builtin_ia32_ldmxcsr(now & ~UINT32_C(0xE040));
  return right;
#elif defined(__aarch64__)
  // Bits 22-23 rounding, 24 flush to zero, 19 flush half precision, 25 default NaN.
  uint64_t now;
  __asm__ volatile("mrs %0, fpcr" : "=r"(now));
  const uint64_t wrong = UINT64_C(0x3C80000);
  bool right = (now & wrong) == 0;
  if (!right) __asm__ volatile("msr fpcr, %0" : : "r"(now & ~wrong));
  return right;
#else
  return true;
#endif
}

static void prefetch_block(const mr_table *t, const uint64_t *ids, size_t from, size_t to) {
  const mr_view *view = mr_view_of(t);
  for (size_t i = from; i < to; i++) {
    mr_prefetch_row(view, ids[i]);
    if (view->previous.slots) __builtin_prefetch(&view->previous.slots[mr_position(&view->previous, ids[i])], 0, 3);
  }
}

static inline mr_row row_of(const mr_slot *slot, uint64_t id) {
  return (mr_row){id, slot->z, slot->n, 0, slot->touched, slot->count};
}

mr_apply_result mr_table_apply_ftrl(mr_table *t, const mr_ftrl *f, const uint64_t *ids, const float *g, const float *g2,
                                    size_t count, float g_bound, float g2_bound, uint32_t touched) {
  mr_apply_result result = {0};
  block_function run = block_of(mr_isa());
  mr_slot *slots[BLOCK];
  block b;
  prefetch_block(t, ids, 0, count < BLOCK ? count : BLOCK);
  for (size_t start = 0; start < count; start += BLOCK) {
    size_t n = count - start < BLOCK ? count - start : BLOCK;
    // Growing moves slots, so it happens here and not between touch and store.
    if (!mr_table_reserve(t, n)) {
      result.out_of_memory = true;
      return result;
    }
    size_t ahead = start + n, ahead_end = ahead + BLOCK < count ? ahead + BLOCK : count;
    prefetch_block(t, ids, ahead, ahead_end);
    for (size_t i = 0; i < n; i++) {
      uint64_t inserted = 0, id = ids[start + i];
      mr_slot *slot = slots[i] = mr_table_touch(t, id, &inserted);
      result.inserted += inserted;
      if (!inserted) {
        mr_row old = row_of(slot, id);
        t->hash -= mr_row_hash(&old);
      }
      b.z[i] = slot->z;
      b.n[i] = slot->n;
      b.w[i] = mr_slot_weight(slot);
      float gi = g[start + i], g2i = g2[start + i];
      bool g_good = fabsf(gi) <= g_bound, g2_good = g2i >= 0 && g2i <= g2_bound;  // false for NaN
      result.refused += !g_good + !g2_good;
      b.g[i] = g_good ? gi : 0;
      b.g2[i] = g2_good ? g2i : 0;
    }
    for (size_t i = n; i < BLOCK; i++) b.z[i] = b.n[i] = b.w[i] = b.g[i] = b.g2[i] = 0;
    result.refused += run(f, &b);
    for (size_t i = 0; i < n; i++) {
      mr_slot *slot = slots[i];
      slot->z = b.z[i];
      slot->n = b.n[i];
      if (touched > slot->touched) slot->touched = touched;
      mr_set_weight(t, slot, ids[start + i], b.w[i]);
      mr_row fresh = row_of(slot, ids[start + i]);
      t->hash += mr_row_hash(&fresh);
    }
    mr_table_work(t, n * 8);
  }
  return result;
}

mr_apply_result mr_table_apply_count(mr_table *t, const uint64_t *ids, const int64_t *counts, size_t count, uint32_t touched) {
  mr_apply_result result = {0};
  for (size_t i = 0; i < count; i++) {
    if (!mr_table_reserve(t, 1)) {
      result.out_of_memory = true;
      return result;
    }
    uint64_t inserted = 0;
    mr_slot *slot = mr_table_touch(t, ids[i], &inserted);
    result.inserted += inserted;
    if (!inserted) {
      mr_row old = row_of(slot, ids[i]);
      t->hash -= mr_row_hash(&old);
    }
    slot->count = (int64_t)((uint64_t)slot->count + (uint64_t)counts[i]);
    if (touched > slot->touched) slot->touched = touched;
    mr_set_weight(t, slot, ids[i], (float)slot->count);
    mr_row fresh = row_of(slot, ids[i]);
    t->hash += mr_row_hash(&fresh);
    mr_table_work(t, 8);
  }
  return result;
}

// MARK: sequential learning

#define EXAMPLE_MAX 256

void mr_table_prefetch(const mr_table *t, const uint64_t *ids, size_t count) { prefetch_block(t, ids, 0, count); }

float mr_table_learn(mr_table *t, const mr_ftrl *f, int loss, const uint64_t *ids, const float *values, size_t count,
                     float label, float example_weight) {
  mr_slot *slots[EXAMPLE_MAX];
  if (count > EXAMPLE_MAX) count = EXAMPLE_MAX;
  if (!mr_table_reserve(t, count)) return NAN;
  float margin = 0;
  uint64_t inserted = 0;
  for (size_t i = 0; i < count; i++) {
    slots[i] = mr_table_touch(t, ids[i], &inserted);
    margin += mr_slot_weight(slots[i]) * values[i];
  }
  float g = mr_loss_gradient(loss, margin, label) * example_weight;
  for (size_t i = 0; i < count; i++) {
    mr_slot *slot = slots[i];
    float gi = g * values[i], w = mr_slot_weight(slot);
    step(f, &slot->z, &slot->n, &w, gi, gi * gi);
    mr_set_weight(t, slot, ids[i], w);
  }
  if (__builtin_expect(inserted || t->retired, 0)) mr_table_work(t, count * 8);
  return margin;
}
