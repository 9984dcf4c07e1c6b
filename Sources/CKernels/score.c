// Hot: no allocation, no locks.
#include "mr_score.h"

#include <stdlib.h>

#include "mr_loss.h"
#include "table_internal.h"

#pragma STDC FP_CONTRACT OFF

// Entries between the prefetch of a row and its use: enough for some 20 cache misses at once.
#define AHEAD 24
#define TRIES_MAX 4

struct mr_published {
  _Alignas(64) _Atomic int64_t next_offset;
  _Atomic int64_t labels_through;
  _Atomic uint64_t epoch;
  _Atomic uint64_t state_hash;
  _Atomic int64_t news;
};

mr_published *mr_published_create(void) {
  mr_published *p = aligned_alloc(64, sizeof(mr_published));
  if (!p) return NULL;
  atomic_init(&p->next_offset, 0);
  atomic_init(&p->labels_through, INT64_MIN);
  atomic_init(&p->epoch, 0);
  atomic_init(&p->state_hash, 0);
  atomic_init(&p->news, 0);
  return p;
}

void mr_published_destroy(mr_published *p) { free(p); }

void mr_published_set_labels_through(mr_published *p, int64_t milliseconds) {
  atomic_store_explicit(&p->labels_through, milliseconds, memory_order_relaxed);
  // Pairs with the fence in mr_score: whoever sees a row that changes after this sees the time too.
  atomic_thread_fence(memory_order_release);
}

void mr_published_set_epoch(mr_published *p, uint64_t epoch) {
  atomic_store_explicit(&p->epoch, epoch, memory_order_relaxed);
  atomic_thread_fence(memory_order_release);
}

void mr_published_set_applied(mr_published *p, int64_t next_offset, uint64_t state_hash) {
  atomic_store_explicit(&p->state_hash, state_hash, memory_order_relaxed);
  atomic_store_explicit(&p->next_offset, next_offset, memory_order_release);
}

void mr_published_set_news(mr_published *p, int64_t nanoseconds) { atomic_store_explicit(&p->news, nanoseconds, memory_order_relaxed); }

#define LOAD(field) atomic_load_explicit((__typeof__(p->field) *)&p->field, memory_order_acquire)
int64_t mr_published_next_offset(const mr_published *p) { return LOAD(next_offset); }
int64_t mr_published_labels_through(const mr_published *p) { return LOAD(labels_through); }
uint64_t mr_published_epoch(const mr_published *p) { return LOAD(epoch); }
uint64_t mr_published_state_hash(const mr_published *p) { return LOAD(state_hash); }
int64_t mr_published_news(const mr_published *p) { return LOAD(news); }

// The same loops over rows and over their serving form. `prefetch(view, id)`; `add(sum, table, view, id, value)`.
#define PREFETCH_ROW(view, id) mr_prefetch_row(view, id)
#define PREFETCH_SERVED(view, id) mr_prefetch_served(view, id)
#define ADD_ROW(sum, table, view, id, value)                     \
  do {                                                           \
    const mr_slot *slot = mr_look_up(table, view, id);           \
    if (slot) sum += mr_slot_weight(slot) * (value);             \
  } while (0)
#define ADD_SERVED(sum, table, view, id, value)                  \
  do {                                                           \
    uint64_t word = mr_serving_look_up(table, view, id);         \
    if (word) sum += mr_serving_weight(word) * (value);          \
  } while (0)

#define PARTIAL_BODY(PREFETCH, ADD)                                                      \
  int32_t entries = rows > 0 ? row_ends[rows - 1] : 0;                                   \
  for (int32_t i = 0; i < AHEAD && i < entries; i++) PREFETCH(view, ids[i]);             \
  int32_t e = 0;                                                                         \
  for (int32_t r = 0; r < rows; r++) {                                                   \
    float partial = 0;                                                                   \
    for (; e < row_ends[r]; e++) {                                                       \
      if (e + AHEAD < entries) PREFETCH(view, ids[e + AHEAD]);                           \
      if (shard_count > 1 && mr_shard_of(ids[e], shard_count) != shard) continue;        \
      ADD(partial, t, view, ids[e], values[e]);                                          \
    }                                                                                    \
    sums[r] += partial;                                                                  \
  }

static void partial_rows(const mr_table *t, const mr_view *view, uint32_t shard, uint32_t shard_count, const uint64_t *ids, const float *values,
                         const int32_t *row_ends, int32_t rows, float *sums) {
  PARTIAL_BODY(PREFETCH_ROW, ADD_ROW)
}

static void partial_served(const mr_table *t, const mr_view *view, uint32_t shard, uint32_t shard_count, const uint64_t *ids, const float *values,
                           const int32_t *row_ends, int32_t rows, float *sums) {
  PARTIAL_BODY(PREFETCH_SERVED, ADD_SERVED)
}

void mr_partial(const mr_table *t, uint32_t shard, uint32_t shard_count, const uint64_t *ids, const float *values,
                const int32_t *row_ends, int32_t rows, float *sums) {
  const mr_view *view = mr_view_of(t);
  if (view->current.served)
    partial_served(t, view, shard, shard_count, ids, values, row_ends, rows, sums);
  else
    partial_rows(t, view, shard, shard_count, ids, values, row_ends, rows, sums);
}

#define MANY_BODY(PREFETCH, ADD)                                                                     \
  float partials[MR_SHARDS_MAX];                                                                     \
  int32_t entries = row_ends[rows - 1];                                                              \
  for (int32_t i = 0; i < AHEAD && i < entries; i++) PREFETCH(views[mr_shard_of(ids[i], shard_count)], ids[i]); \
  int32_t e = 0;                                                                                     \
  for (int32_t r = 0; r < rows; r++) {                                                               \
    for (uint32_t s = 0; s < shard_count; s++) partials[s] = 0;                                      \
    for (; e < row_ends[r]; e++) {                                                                   \
      if (e + AHEAD < entries) {                                                                     \
        uint64_t id = ids[e + AHEAD];                                                                \
        PREFETCH(views[mr_shard_of(id, shard_count)], id);                                           \
      }                                                                                              \
      uint32_t s = mr_shard_of(ids[e], shard_count);                                                 \
      ADD(partials[s], tables[s], views[s], ids[e], values[e]);                                      \
    }                                                                                                \
    float sum = 0;                                                                                   \
    for (uint32_t s = 0; s < shard_count; s++) sum += partials[s];                                   \
    sums[r] = sum;                                                                                   \
  }

static void score_rows(const mr_table *const *tables, const mr_view *const *views, uint32_t shard_count, const uint64_t *ids, const float *values,
                       const int32_t *row_ends, int32_t rows, float *sums) {
  MANY_BODY(PREFETCH_ROW, ADD_ROW)
}

static void score_served(const mr_table *const *tables, const mr_view *const *views, uint32_t shard_count, const uint64_t *ids, const float *values,
                         const int32_t *row_ends, int32_t rows, float *sums) {
  MANY_BODY(PREFETCH_SERVED, ADD_SERVED)
}

static void score_all(const mr_table *const *tables, uint32_t shard_count, const uint64_t *ids, const float *values,
                      const int32_t *row_ends, int32_t rows, float *sums) {
  if (shard_count == 1) {
    for (int32_t r = 0; r < rows; r++) sums[r] = 0;
    mr_partial(tables[0], 0, 1, ids, values, row_ends, rows, sums);
    return;
  }
  const mr_view *views[MR_SHARDS_MAX];
  uint32_t served = 0;
  for (uint32_t s = 0; s < shard_count; s++) {
    views[s] = mr_view_of(tables[s]);
    served += views[s]->current.served != NULL;
  }
  if (served == shard_count) {
    score_served(tables, views, shard_count, ids, values, row_ends, rows, sums);
  } else if (served == 0) {
    score_rows(tables, views, shard_count, ids, values, row_ends, rows, sums);
  } else {
    // One of them had no memory for it: each as it is.
    for (int32_t r = 0; r < rows; r++) sums[r] = 0;
    for (uint32_t s = 0; s < shard_count; s++) mr_partial(tables[s], s, shard_count, ids, values, row_ends, rows, sums);
  }
}

bool mr_score(mr_reader *reader, const mr_table *const *tables, const mr_published *const *published, uint32_t shard_count,
              const uint64_t *ids, const float *values, const int32_t *row_ends, int32_t rows, float *sums,
              int64_t *positions, int64_t *labels_through, uint64_t *epoch) {
  if (shard_count == 0 || shard_count > MR_SHARDS_MAX) return false;
  for (int tried = 0; tried < TRIES_MAX; tried++) {
    mr_reader_enter(reader);
    bool equal = true;
    uint64_t first = mr_published_epoch(published[0]);
    for (uint32_t s = 0; s < shard_count; s++) {
      if (mr_published_epoch(published[s]) != first) equal = false;
      positions[s] = mr_published_next_offset(published[s]);
    }
    if (equal && rows > 0) score_all(tables, shard_count, ids, values, row_ends, rows, sums);
    atomic_thread_fence(memory_order_acquire);
    int64_t through = INT64_MIN;
    for (uint32_t s = 0; s < shard_count; s++) {
      int64_t t = mr_published_labels_through(published[s]);
      if (t > through) through = t;
      if (mr_published_epoch(published[s]) != first) equal = false;
    }
    mr_reader_leave(reader);
    if (equal) {
      *labels_through = through;
      *epoch = first;
      return true;
    }
  }
  return false;
}

void mr_finish(int loss, float *scores, int32_t rows) {
  for (int32_t r = 0; r < rows; r++) scores[r] = (float)mr_loss_link(loss, scores[r]);
}
