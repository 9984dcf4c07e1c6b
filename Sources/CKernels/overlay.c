// Hot: allocates only when it grows.
#include "mr_overlay.h"

#include <math.h>
#include <stdlib.h>

#include "table_internal.h"

#pragma STDC FP_CONTRACT OFF

// One line serves two: state and the batch's sums of a row stand together.
typedef struct entry {
  uint64_t key;  // row id; 0: empty
  float z, n, w;
  uint32_t sequence;  // of the last batch that changed it
  float g, g2;        // sums of the batch in hand, when `sequence` is its number
} entry;

typedef struct pair {
  uint64_t id;
  uint32_t index;
} pair;

struct mr_overlay {
  entry *entries;
  uint64_t mask, used;
  int shift;
  bool zero_used;
  entry zero;  // row id 0
  uint32_t sequence, applied;
  bool batch_open;
  uint32_t *batch;  // indices of the rows of the batch in hand; UINT32_MAX is row id 0
  size_t batch_count, batch_capacity;
  pair *sorted, *scratch;
  size_t sorted_capacity;
};

#define CAPACITY_MIN UINT64_C(1024)
#define CAPACITY_MAX (UINT64_C(1) << 31)
#define ZERO_INDEX UINT32_MAX

mr_overlay *mr_overlay_create(uint64_t rows_expected) {
  uint64_t capacity = CAPACITY_MIN;
  while (capacity < rows_expected * 2 && capacity < CAPACITY_MAX) capacity *= 2;
  mr_overlay *o = calloc(1, sizeof *o);
  entry *entries = calloc((size_t)capacity, sizeof(entry));
  if (!o || !entries) {
    free(o);
    free(entries);
    return NULL;
  }
  o->entries = entries;
  o->mask = capacity - 1;
  o->shift = 64 - __builtin_ctzll(capacity);
  return o;
}

void mr_overlay_destroy(mr_overlay *o) {
  if (!o) return;
  free(o->entries);
  free(o->batch);
  free(o->sorted);
  free(o->scratch);
  free(o);
}

void mr_overlay_clear(mr_overlay *o) {
  memset(o->entries, 0, (size_t)(o->mask + 1) * sizeof(entry));
  o->used = 0;
  o->zero_used = false;
  o->batch_count = 0;
  o->applied = o->sequence;
}

uint64_t mr_overlay_rows(const mr_overlay *o) { return o->used + o->zero_used; }

// Serial-number arithmetic: the sequence may wrap.
static inline bool live(const mr_overlay *o, const entry *e) { return (int32_t)(e->sequence - o->applied) > 0; }

static inline uint64_t position(const mr_overlay *o, uint64_t id) {
  return ((id ^ (id >> 32)) * UINT64_C(0x9E3779B97F4A7C15)) >> o->shift;
}

static entry *find(mr_overlay *o, uint64_t id) {
  if (id == 0) return o->zero_used ? &o->zero : NULL;
  for (uint64_t i = position(o, id);; i = (i + 1) & o->mask) {
    entry *e = &o->entries[i];
    if (e->key == id) return e;
    if (e->key == 0) return NULL;
  }
}

// Builds the entries anew with those alive, with room for `more`.
static bool rebuild(mr_overlay *o, uint64_t more) {
  uint64_t alive = 0;
  for (uint64_t i = 0; i <= o->mask; i++) alive += o->entries[i].key != 0 && live(o, &o->entries[i]);
  uint64_t capacity = CAPACITY_MIN;
  // At most a quarter full, so that rebuilding stays rare.
  while (capacity < (alive + more) * 4) {
    if (capacity >= CAPACITY_MAX) return false;
    capacity *= 2;
  }
  entry *entries = calloc((size_t)capacity, sizeof(entry));
  if (!entries) return false;
  entry *old = o->entries;
  uint64_t old_mask = o->mask;
  o->entries = entries;
  o->mask = capacity - 1;
  o->shift = 64 - __builtin_ctzll(capacity);
  o->used = 0;
  size_t batch = 0;
  for (size_t i = 0; i < o->batch_count; i++)
    if (o->batch[i] == ZERO_INDEX) o->batch[batch++] = ZERO_INDEX;
  for (uint64_t i = 0; i <= old_mask; i++) {
    if (old[i].key == 0 || !live(o, &old[i])) continue;
    uint64_t at = position(o, old[i].key);
    while (o->entries[at].key) at = (at + 1) & o->mask;
    o->entries[at] = old[i];
    o->used++;
    // Every row of the batch in hand is alive, so the list has room.
    if (o->batch_open && old[i].sequence == o->sequence && batch < o->batch_count) o->batch[batch++] = (uint32_t)at;
  }
  o->batch_count = batch;
  free(old);
  return true;
}

void mr_overlay_begin(mr_overlay *o, uint32_t sequence) {
  // Rows last changed half the number range ago would look alive again: sweep them out well before.
  bool sweep = (sequence >> 28) != (o->sequence >> 28);
  o->sequence = sequence;
  if ((int32_t)(sequence - o->applied) <= 0) o->applied = sequence - 1;
  o->batch_count = 0;
  o->batch_open = false;
  if (sweep || o->used > (o->mask + 1) / 2) rebuild(o, 0);
  o->batch_open = true;
}

void mr_overlay_applied(mr_overlay *o, uint32_t sequence) {
  if ((int32_t)(sequence - o->applied) > 0) o->applied = sequence;
}

float mr_overlay_predict(mr_overlay *o, const mr_table *const *tables, uint32_t shard_count, const uint64_t *ids,
                         const float *values, size_t count) {
  float margin = 0;
  for (size_t i = 0; i < count; i++) {
    __builtin_prefetch(&o->entries[position(o, ids[i])]);
    const mr_table *t = tables[mr_shard_of(ids[i], shard_count)];
    mr_prefetch_row(mr_view_of(t), ids[i]);
  }
  for (size_t i = 0; i < count; i++) {
    entry *e = find(o, ids[i]);
    float w;
    if (e && live(o, e)) {
      w = e->w;
    } else {
      const mr_table *t = tables[mr_shard_of(ids[i], shard_count)];
      const mr_slot *slot = mr_look_up(t, mr_view_of(t), ids[i]);
      w = slot ? mr_slot_weight(slot) : 0;
    }
    margin += w * values[i];
  }
  return margin;
}

// The entry of a row in the batch in hand, with state from the table unless something newer is in flight.
static entry *open_entry(mr_overlay *o, const mr_table *t, uint64_t id) {
  entry *e = find(o, id);
  uint32_t index;
  if (!e) {
    if (id == 0) {
      o->zero_used = true;
      e = &o->zero;
    } else {
      if (o->used + 1 > (o->mask + 1) / 4 * 3 && !rebuild(o, 1)) return NULL;
      uint64_t at = position(o, id);
      while (o->entries[at].key) at = (at + 1) & o->mask;
      e = &o->entries[at];
      e->key = id;
      o->used++;
    }
    e->sequence = o->applied;  // not alive: takes its state from the table below
  }
  if (e->sequence == o->sequence) return e;
  if (!live(o, e)) {
    const mr_slot *slot = t ? mr_look_up(t, mr_view_of(t), id) : NULL;
    e->z = slot ? slot->z : 0;
    e->n = slot ? slot->n : 0;
    e->w = slot ? mr_slot_weight(slot) : 0;
  }
  if (o->batch_count == o->batch_capacity) {
    size_t capacity = o->batch_capacity ? o->batch_capacity * 2 : 1024;
    uint32_t *grown = realloc(o->batch, capacity * sizeof *grown);
    if (!grown) return NULL;
    o->batch = grown;
    o->batch_capacity = capacity;
  }
  index = e == &o->zero ? ZERO_INDEX : (uint32_t)(e - o->entries);
  o->batch[o->batch_count++] = index;
  e->sequence = o->sequence;
  e->g = e->g2 = 0;
  return e;
}

static inline bool is_finite(float x) { return (mr_float_bits(x) & UINT32_C(0x7F800000)) != UINT32_C(0x7F800000); }

bool mr_overlay_learn(mr_overlay *o, const mr_table *const *tables, uint32_t shard_count, const mr_ftrl *f,
                      const uint64_t *ids, const float *values, size_t count, float gradient, float bound,
                      const uint8_t *shards) {
  for (size_t i = 0; i < count; i++) {
    uint32_t shard = mr_shard_of(ids[i], shard_count);
    if (shards && !shards[shard]) continue;
    float g = gradient * values[i];
    if (!is_finite(g)) continue;
    g = g > bound ? bound : g < -bound ? -bound : g;
    entry *e = open_entry(o, tables[shard], ids[i]);
    if (!e) return false;
    float g2 = g * g, n1 = e->n + g2, root = __builtin_sqrtf(n1);
    float sigma = (root - __builtin_sqrtf(e->n)) / f->alpha;
    float z1 = e->z + (g - sigma * e->w);
    float w1 = fabsf(z1) <= f->l1 ? 0 : (copysignf(f->l1, z1) - z1) / ((f->beta + root) / f->alpha + f->l2);
    e->g += g;
    e->g2 += g2;
    if (!(is_finite(n1) && is_finite(z1) && is_finite(w1))) continue;
    e->z = z1;
    e->n = n1;
    e->w = w1;
  }
  return true;
}

bool mr_overlay_count(mr_overlay *o, uint32_t shard_count, const uint64_t *ids, const float *values, size_t count,
                      const uint8_t *shards) {
  for (size_t i = 0; i < count; i++) {
    if (shards && !shards[mr_shard_of(ids[i], shard_count)]) continue;
    entry *e = open_entry(o, NULL, ids[i]);
    if (!e) return false;
    e->g += values[i];
  }
  return true;
}

static inline uint64_t id_at(const mr_overlay *o, uint32_t index) { return index == ZERO_INDEX ? 0 : o->entries[index].key; }

size_t mr_overlay_batch_rows(const mr_overlay *o, uint32_t shard, uint32_t shard_count) {
  size_t n = 0;
  for (size_t i = 0; i < o->batch_count; i++) n += mr_shard_of(id_at(o, o->batch[i]), shard_count) == shard;
  return n;
}

static bool sort_room(mr_overlay *o, size_t count) {
  if (count <= o->sorted_capacity) return true;
  pair *sorted = realloc(o->sorted, count * 2 * sizeof(pair));
  if (sorted) o->sorted = sorted;
  pair *scratch = realloc(o->scratch, count * 2 * sizeof(pair));
  if (scratch) o->scratch = scratch;
  if (!sorted || !scratch) return false;
  o->sorted_capacity = count * 2;
  return true;
}

// Least significant digit first; digits that all share are skipped. Returns the array that holds the result.
static pair *radix_sort(pair *a, pair *b, size_t count) {
  for (int shift = 0; shift < 64; shift += 8) {
    size_t counts[256] = {0};
    for (size_t i = 0; i < count; i++) counts[a[i].id >> shift & 0xFF]++;
    if (counts[a[0].id >> shift & 0xFF] == count) continue;
    size_t sum = 0;
    for (int d = 0; d < 256; d++) {
      size_t c = counts[d];
      counts[d] = sum;
      sum += c;
    }
    for (size_t i = 0; i < count; i++) b[counts[a[i].id >> shift & 0xFF]++] = a[i];
    pair *swap = a;
    a = b;
    b = swap;
  }
  return a;
}

static pair *insertion_sort(pair *a, size_t count) {
  for (size_t i = 1; i < count; i++) {
    pair p = a[i];
    size_t k = i;
    for (; k > 0 && a[k - 1].id > p.id; k--) a[k] = a[k - 1];
    a[k] = p;
  }
  return a;
}

size_t mr_overlay_batch_sums(mr_overlay *o, uint32_t shard, uint32_t shard_count, float g_bound, float g2_bound,
                             uint64_t *ids, float *g, float *g2) {
  if (!sort_room(o, o->batch_count)) return 0;
  size_t n = 0;
  for (size_t i = 0; i < o->batch_count; i++) {
    uint64_t id = id_at(o, o->batch[i]);
    if (mr_shard_of(id, shard_count) == shard) o->sorted[n++] = (pair){id, o->batch[i]};
  }
  if (n == 0) return 0;
  pair *sorted = n <= 48 ? insertion_sort(o->sorted, n) : radix_sort(o->sorted, o->scratch, n);
  for (size_t i = 0; i < n; i++) {
    const entry *e = sorted[i].index == ZERO_INDEX ? &o->zero : &o->entries[sorted[i].index];
    ids[i] = sorted[i].id;
    g[i] = e->g > g_bound ? g_bound : e->g < -g_bound ? -g_bound : e->g;
    g2[i] = e->g2 > g2_bound ? g2_bound : e->g2;
  }
  return n;
}
