// Hot: allocates only when it grows.
#include "mr_speculation.h"

#include <math.h>
#include <stdlib.h>

#include "table_internal.h"

#pragma STDC FP_CONTRACT OFF

#define NONE (-1)
#define VACANT (-2)
#define CAPACITY_MIN UINT64_C(1024)
#define CAPACITY_MAX (UINT64_C(1) << 30)

typedef struct entry {
  uint64_t id;
  float z, n, w;
  int32_t first, last;  // nodes, oldest and newest; first VACANT: a free slot
} entry;

// What one batch in flight adds to one row.
typedef struct node {
  int64_t sequence;
  float g, g2;
  int32_t next;
} node;

typedef struct touch {
  uint64_t id;
  int32_t node;
} touch;

// The rows of the batch in hand in one shard.
typedef struct touches {
  touch *rows;
  size_t count, capacity;
} touches;

// What `predict` found of an entry of the example.
typedef struct found {
  int64_t slot;  // NONE: nothing in flight, and z, n, w are the table's
  float z, n, w;
} found;

struct mr_speculation {
  entry *entries;
  uint64_t mask, used;
  int shift;
  node *nodes;
  int32_t node_capacity, node_free, node_used;
  int64_t sequence;
  uint32_t shard_count;
  touches *batch;  // one for each shard
  touch *scratch;
  size_t scratch_capacity;
  found *example;
  size_t example_capacity;
};

static void vacate(entry *entries, uint64_t capacity) {
  for (uint64_t i = 0; i < capacity; i++) entries[i].first = VACANT;
}

static void link_nodes(mr_speculation *s, int32_t from) {
  for (int32_t i = s->node_capacity - 1; i >= from; i--) {
    s->nodes[i].next = s->node_free;
    s->node_free = i;
  }
}

mr_speculation *mr_speculation_create(uint32_t shard_count, uint64_t rows_expected) {
  uint64_t capacity = CAPACITY_MIN;
  while (capacity < rows_expected * 2 && capacity < CAPACITY_MAX) capacity *= 2;
  mr_speculation *s = calloc(1, sizeof *s);
  if (!s) return NULL;
  s->shard_count = shard_count ? shard_count : 1;
  s->entries = malloc((size_t)capacity * sizeof(entry));
  s->nodes = malloc((size_t)capacity * sizeof(node));
  s->batch = calloc(s->shard_count, sizeof(touches));
  if (!s->entries || !s->nodes || !s->batch) {
    mr_speculation_destroy(s);
    return NULL;
  }
  s->mask = capacity - 1;
  s->shift = 64 - __builtin_ctzll(capacity);
  vacate(s->entries, capacity);
  s->node_capacity = (int32_t)capacity;
  s->node_free = NONE;
  link_nodes(s, 0);
  return s;
}

void mr_speculation_destroy(mr_speculation *s) {
  if (!s) return;
  if (s->batch)
    for (uint32_t i = 0; i < s->shard_count; i++) free(s->batch[i].rows);
  free(s->batch);
  free(s->entries);
  free(s->nodes);
  free(s->scratch);
  free(s->example);
  free(s);
}

void mr_speculation_clear(mr_speculation *s) {
  if (s->used) vacate(s->entries, s->mask + 1);
  s->used = 0;
  if (s->node_used) {
    s->node_free = NONE;
    s->node_used = 0;
    link_nodes(s, 0);
  }
  for (uint32_t i = 0; i < s->shard_count; i++) s->batch[i].count = 0;
}

uint64_t mr_speculation_rows(const mr_speculation *s) { return s->used; }
uint64_t mr_speculation_pending(const mr_speculation *s) { return (uint64_t)s->node_used; }

void mr_speculation_begin(mr_speculation *s, int64_t sequence) {
  s->sequence = sequence;
  for (uint32_t i = 0; i < s->shard_count; i++) s->batch[i].count = 0;
}

static inline uint64_t position(const mr_speculation *s, uint64_t id) {
  return ((id ^ (id >> 32)) * UINT64_C(0x9E3779B97F4A7C15)) >> s->shift;
}

static inline int64_t find(const mr_speculation *s, uint64_t id) {
  for (uint64_t i = position(s, id);; i = (i + 1) & s->mask) {
    const entry *e = &s->entries[i];
    if (e->first == VACANT) return NONE;
    if (e->id == id) return (int64_t)i;
  }
}

// At most half full.
static bool reserve(mr_speculation *s, uint64_t more) {
  if ((s->used + more) * 2 <= s->mask) return true;
  uint64_t capacity = s->mask + 1;
  while (capacity < (s->used + more) * 4) {
    if (capacity >= CAPACITY_MAX) return false;
    capacity *= 2;
  }
  entry *entries = malloc((size_t)capacity * sizeof(entry));
  if (!entries) return false;
  vacate(entries, capacity);
  entry *old = s->entries;
  uint64_t old_mask = s->mask;
  s->entries = entries;
  s->mask = capacity - 1;
  s->shift = 64 - __builtin_ctzll(capacity);
  for (uint64_t i = 0; i <= old_mask; i++) {
    if (old[i].first == VACANT) continue;
    uint64_t at = position(s, old[i].id);
    while (entries[at].first != VACANT) at = (at + 1) & s->mask;
    entries[at] = old[i];
  }
  free(old);
  return true;
}

static bool reserve_nodes(mr_speculation *s, size_t more) {
  if ((size_t)(s->node_capacity - s->node_used) >= more) return true;
  size_t capacity = (size_t)s->node_capacity;
  while (capacity - (size_t)s->node_used < more) capacity *= 2;
  if (capacity > INT32_MAX / 2) return false;
  node *nodes = realloc(s->nodes, capacity * sizeof(node));
  if (!nodes) return false;
  s->nodes = nodes;
  int32_t from = s->node_capacity;
  s->node_capacity = (int32_t)capacity;
  link_nodes(s, from);
  return true;
}

// Backward-shift deletion: no tombstones, so probes stay short however long the trainer runs.
static void remove_at(mr_speculation *s, uint64_t slot) {
  uint64_t hole = slot, next = (hole + 1) & s->mask;
  while (s->entries[next].first != VACANT) {
    uint64_t distance = (next - position(s, s->entries[next].id)) & s->mask;
    if (distance >= ((next - hole) & s->mask)) {
      s->entries[hole] = s->entries[next];
      hole = next;
    }
    next = (next + 1) & s->mask;
  }
  s->entries[hole].first = VACANT;
  s->used--;
}

static bool touch_row(mr_speculation *s, uint32_t shard, uint64_t id, int32_t node) {
  touches *t = &s->batch[shard];
  if (t->count == t->capacity) {
    size_t capacity = t->capacity ? t->capacity * 2 : 1024;
    touch *rows = realloc(t->rows, capacity * sizeof(touch));
    if (!rows) return false;
    t->rows = rows;
    t->capacity = capacity;
  }
  t->rows[t->count++] = (touch){id, node};
  return true;
}

// Adds to the sums of the batch in hand. Room for a node must have been reserved.
static inline bool add(mr_speculation *s, entry *e, uint32_t shard, float g, float g2) {
  if (e->last >= 0 && s->nodes[e->last].sequence == s->sequence) {
    s->nodes[e->last].g += g;
    s->nodes[e->last].g2 += g2;
    return true;
  }
  if (!touch_row(s, shard, e->id, s->node_free)) return false;
  int32_t at = s->node_free;
  s->node_free = s->nodes[at].next;
  s->node_used++;
  s->nodes[at] = (node){s->sequence, g, g2, NONE};
  if (e->last >= 0)
    s->nodes[e->last].next = at;
  else
    e->first = at;
  e->last = at;
  return true;
}

static inline bool is_finite(float x) { return (mr_float_bits(x) & UINT32_C(0x7F800000)) != UINT32_C(0x7F800000); }

// The replica's step (ftrl.c): a step whose result is not finite is not taken.
static inline void step(const mr_ftrl *f, float *z, float *n, float *w, float g, float g2) {
  float n1 = *n + g2;
  float root = __builtin_sqrtf(n1);
  float sigma = (root - __builtin_sqrtf(*n)) / f->alpha;
  float z1 = *z + (g - sigma * *w);
  float w1 = fabsf(z1) <= f->l1 ? 0 : (copysignf(f->l1, z1) - z1) / ((f->beta + root) / f->alpha + f->l2);
  if (!(is_finite(n1) && is_finite(z1) && is_finite(w1))) return;
  *z = z1;
  *n = n1;
  *w = w1;
}

static bool example_room(mr_speculation *s, size_t count) {
  if (count > s->example_capacity) {
    found *example = realloc(s->example, count * 2 * sizeof(found));
    if (!example) return false;
    s->example = example;
    s->example_capacity = count * 2;
  }
  return reserve(s, count) && reserve_nodes(s, count);
}

float mr_speculation_predict(mr_speculation *s, const mr_table *const *tables, const uint64_t *ids, const float *values,
                             size_t count) {
  if (!example_room(s, count)) return NAN;
  uint32_t shards = s->shard_count;
  const mr_view *only = shards == 1 ? mr_view_of(tables[0]) : NULL;
  for (size_t i = 0; i < count; i++) {
    __builtin_prefetch(&s->entries[position(s, ids[i])], 1, 3);
    mr_prefetch_row(only ? only : mr_view_of(tables[mr_shard_of(ids[i], shards)]), ids[i]);
  }
  float margin = 0;
  for (size_t i = 0; i < count; i++) {
    found *f = &s->example[i];
    f->slot = find(s, ids[i]);
    if (f->slot >= 0) {
      margin += s->entries[f->slot].w * values[i];
      continue;
    }
    const mr_table *table = tables[mr_shard_of(ids[i], shards)];
    const mr_slot *slot = mr_look_up(table, mr_view_of(table), ids[i]);
    f->z = slot ? slot->z : 0;
    f->n = slot ? slot->n : 0;
    f->w = slot ? mr_slot_weight(slot) : 0;
    margin += f->w * values[i];
  }
  return margin;
}

// The entry of a row that had none when the example was predicted (but may be there now: an id can come twice).
static entry *insert(mr_speculation *s, uint64_t id, const found *f) {
  uint64_t i = position(s, id);
  while (s->entries[i].first != VACANT) {
    if (s->entries[i].id == id) return &s->entries[i];
    i = (i + 1) & s->mask;
  }
  s->entries[i] = (entry){id, f ? f->z : 0, f ? f->n : 0, f ? f->w : 0, NONE, NONE};
  s->used++;
  return &s->entries[i];
}

bool mr_speculation_learn(mr_speculation *s, const mr_ftrl *ftrl, const uint64_t *ids, const float *values, size_t count,
                          float gradient, float bound, const uint8_t *shards) {
  uint32_t shard_count = s->shard_count;
  for (size_t i = 0; i < count; i++) {
    uint32_t shard = mr_shard_of(ids[i], shard_count);
    if (shards && !shards[shard]) continue;
    float g = gradient * values[i];
    if (!is_finite(g)) continue;
    g = g > bound ? bound : g < -bound ? -bound : g;
    const found *f = &s->example[i];
    entry *e = f->slot >= 0 ? &s->entries[f->slot] : insert(s, ids[i], f);
    float g2 = g * g;
    if (!add(s, e, shard, g, g2)) return false;
    step(ftrl, &e->z, &e->n, &e->w, g, g2);
  }
  return true;
}

bool mr_speculation_count(mr_speculation *s, const uint64_t *ids, const float *values, size_t count, const uint8_t *shards) {
  if (!example_room(s, count)) return false;
  for (size_t i = 0; i < count; i++) {
    uint32_t shard = mr_shard_of(ids[i], s->shard_count);
    if (shards && !shards[shard]) continue;
    if (!add(s, insert(s, ids[i], NULL), shard, values[i], 0)) return false;
  }
  return true;
}

size_t mr_speculation_batch_rows(const mr_speculation *s, uint32_t shard) { return s->batch[shard].count; }

static void insertion_sort(touch *a, size_t count, size_t *moves) {
  for (size_t i = 1; i < count; i++) {
    touch t = a[i];
    size_t k = i;
    for (; k > 0 && a[k - 1].id > t.id; k--) a[k] = a[k - 1];
    a[k] = t;
    *moves += i - k;
    if (*moves > count * 64) return;
  }
}

static int by_id(const void *a, const void *b) {
  uint64_t x = ((const touch *)a)->id, y = ((const touch *)b)->id;
  return (x > y) - (x < y);
}

// Ids are hashes: one pass into buckets by their leading bits leaves almost nothing to sort. Crafted ids make a crowded
// bucket, which the library sorts instead.
static bool sort_touches(mr_speculation *s, touches *t) {
  size_t count = t->count;
  if (count > 64) {
    if (count > s->scratch_capacity) {
      touch *scratch = realloc(s->scratch, count * 2 * sizeof(touch));
      if (!scratch) return false;
      s->scratch = scratch;
      s->scratch_capacity = count * 2;
    }
    int bits = 63 - __builtin_clzll(count);
    if (bits > 12) bits = 12;
    uint32_t ends[(1 << 12) + 1];
    uint32_t buckets = UINT32_C(1) << bits;
    int shift = 64 - bits;
    memset(ends, 0, (buckets + 1) * sizeof *ends);
    for (size_t i = 0; i < count; i++) ends[(t->rows[i].id >> shift) + 1]++;
    for (uint32_t b = 0; b < buckets; b++) ends[b + 1] += ends[b];
    for (size_t i = 0; i < count; i++) s->scratch[ends[t->rows[i].id >> shift]++] = t->rows[i];
    memcpy(t->rows, s->scratch, count * sizeof(touch));
  }
  size_t moves = 0;
  insertion_sort(t->rows, count, &moves);
  if (moves > count * 64) qsort(t->rows, count, sizeof(touch), by_id);
  return true;
}

size_t mr_speculation_batch_sums(mr_speculation *s, uint32_t shard, float g_bound, float g2_bound, uint64_t *ids, float *g,
                                 float *g2) {
  touches *t = &s->batch[shard];
  if (!sort_touches(s, t)) qsort(t->rows, t->count, sizeof(touch), by_id);
  for (size_t i = 0; i < t->count; i++) {
    const node *n = &s->nodes[t->rows[i].node];
    ids[i] = t->rows[i].id;
    g[i] = n->g > g_bound ? g_bound : n->g < -g_bound ? -g_bound : n->g;
    g2[i] = n->g2 > g2_bound ? g2_bound : n->g2;
  }
  return t->count;
}

void mr_speculation_applied(mr_speculation *s, const mr_table *table, const mr_ftrl *ftrl, const void *ids, size_t count,
                            int64_t sequence) {
  for (size_t i = 0; i < count; i++) {
    uint64_t id;
    memcpy(&id, (const char *)ids + i * sizeof id, sizeof id);
    int64_t slot = find(s, id);
    if (slot < 0) continue;
    entry *e = &s->entries[slot];
    int32_t at = e->first;
    while (at >= 0 && s->nodes[at].sequence <= sequence) {
      int32_t next = s->nodes[at].next;
      s->nodes[at].next = s->node_free;
      s->node_free = at;
      s->node_used--;
      at = next;
    }
    if (at < 0) {
      remove_at(s, (uint64_t)slot);
      continue;
    }
    e->first = at;
    if (!ftrl) continue;
    const mr_slot *row = mr_look_up(table, mr_view_of(table), id);
    float z = row ? row->z : 0, n = row ? row->n : 0, w = row ? mr_slot_weight(row) : 0;
    for (; at >= 0; at = s->nodes[at].next) step(ftrl, &z, &n, &w, s->nodes[at].g, s->nodes[at].g2);
    e->z = z;
    e->n = n;
    e->w = w;
  }
}
