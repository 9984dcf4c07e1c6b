// Shared by table.c, ftrl.c and score.c. Not for others.
#pragma once
#include <stdatomic.h>
#include <string.h>

#include "mr_hash.h"
#include "mr_reader.h"
#include "mr_table.h"

// 32 bytes, two to a cache line. Readers load `id` (acquire) and `w`; everything else is the writer's alone.
typedef struct mr_slot {
  _Atomic uint64_t id;  // 0: empty
  float z, n;
  _Atomic uint32_t w;  // bits of a float
  uint32_t touched;
  int64_t count;
} mr_slot;
_Static_assert(sizeof(mr_slot) == 32, "two slots to a cache line");

typedef struct mr_array {
  mr_slot *slots;
  uint64_t mask;  // capacity - 1
  int shift;      // 64 - log2 capacity
  size_t mapped;
  // The serving form, when the table has one: word i stands for slot i, see mr_serving_word. 0: empty.
  _Atomic uint64_t *served;
  size_t served_mapped;
} mr_array;

// What readers see: immutable once published. A row stands in `current`, or (not moved yet) in `previous`.
typedef struct mr_view {
  mr_array current, previous;  // previous.slots null: not growing
} mr_view;

struct mr_table {
  _Alignas(64) _Atomic(mr_view *) view;
  mr_slot zero;  // the row with id 0, which no array can hold: its `id` is 1 when it is there

  _Alignas(64) _Atomic uint64_t rows;
  _Atomic uint64_t bytes;
  uint64_t threshold;       // rows at which to grow
  uint64_t migrate_cursor;  // slots of `previous` below it are moved
  uint64_t hash;
  bool serving;             // new arrays get a serving form
  struct mr_retired *retired;
  // Capture: a bit for each slot of each array that is handed out, kept aside, or not part of the capture.
  bool capturing, capture_failed;
  uint64_t *captured_current, *captured_previous;
  uint64_t scan_current, scan_previous;
  mr_row *aside;
  size_t aside_count, aside_capacity, aside_taken;
};

static inline float mr_bits_float(uint32_t bits) {
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

static inline uint32_t mr_float_bits(float f) {
  uint32_t bits;
  memcpy(&bits, &f, 4);
  return bits;
}

static inline uint64_t mr_position(const mr_array *array, uint64_t id) {
  // The shard was chosen from other bits (mr_shard_of mixes differently).
  return ((id ^ (id >> 32)) * UINT64_C(0x9E3779B97F4A7C15)) >> array->shift;
}

static inline mr_slot *mr_probe(const mr_array *array, uint64_t id) {
  uint64_t i = mr_position(array, id);
  for (;;) {
    mr_slot *slot = &array->slots[i];
    uint64_t there = atomic_load_explicit(&slot->id, memory_order_acquire);
    if (there == id) return slot;
    if (there == 0) return NULL;
    i = (i + 1) & array->mask;
  }
}

/// For readers inside and for the writer: null when the row is not there.
static inline const mr_slot *mr_look_up(const mr_table *table, const mr_view *view, uint64_t id) {
  if (__builtin_expect(id == 0, 0)) {
    const mr_slot *zero = &table->zero;
    return atomic_load_explicit((_Atomic uint64_t *)&zero->id, memory_order_acquire) ? zero : NULL;
  }
  mr_slot *slot = mr_probe(&view->current, id);
  if (__builtin_expect(!slot && view->previous.slots, 0)) slot = mr_probe(&view->previous, id);
  return slot;
}

static inline float mr_slot_weight(const mr_slot *slot) {
  return mr_bits_float(atomic_load_explicit((_Atomic uint32_t *)&slot->w, memory_order_relaxed));
}

// MARK: serving form

/// 48 bits of the id (never 0) above the weight rounded to bfloat16: one load finds a row and has its weight. Other bits choose the
/// position, so two rows that are taken for one would have to agree in 47 bits and stand in one run of slots.
static inline uint64_t mr_serving_tag(uint64_t id) { return (id * UINT64_C(0xD6E8FEB86659FD93)) >> 16 | 1; }

static inline uint64_t mr_serving_word(uint64_t id, float w) {
  uint32_t bits = mr_float_bits(w);
  // To nearest, ties to even. Weights are finite.
  bits = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
  return mr_serving_tag(id) << 16 | bits;
}

static inline float mr_serving_weight(uint64_t word) { return mr_bits_float((uint32_t)word << 16); }

/// The word of `id`; 0 when the row is not there.
static inline uint64_t mr_serving_probe(const mr_array *array, uint64_t id) {
  uint64_t tag = mr_serving_tag(id), i = mr_position(array, id);
  for (;;) {
    uint64_t word = atomic_load_explicit(&array->served[i], memory_order_relaxed);
    if (word >> 16 == tag || word == 0) return word;
    i = (i + 1) & array->mask;
  }
}

/// For readers inside: as mr_look_up, of a table with a serving form.
static inline uint64_t mr_serving_look_up(const mr_table *table, const mr_view *view, uint64_t id) {
  if (__builtin_expect(id == 0, 0)) {
    const mr_slot *zero = mr_look_up(table, view, 0);
    return zero ? mr_serving_word(0, mr_slot_weight(zero)) : 0;
  }
  uint64_t word = mr_serving_probe(&view->current, id);
  if (__builtin_expect(!word && view->previous.served, 0)) word = mr_serving_probe(&view->previous, id);
  return word;
}

static inline const mr_view *mr_view_of(const mr_table *table) {
  return atomic_load_explicit((_Atomic(mr_view *) *)&table->view, memory_order_acquire);
}

static inline void mr_prefetch_served(const mr_view *view, uint64_t id) {
  __builtin_prefetch((const void *)&view->current.served[mr_position(&view->current, id)], 0, 3);
}

/// Writer: the weight of a row that stands in the newest array (or has id 0), in the row and in the serving form.
static inline void mr_set_weight(const mr_table *table, mr_slot *slot, uint64_t id, float w) {
  atomic_store_explicit(&slot->w, mr_float_bits(w), memory_order_relaxed);
  const mr_array *array = &mr_view_of(table)->current;
  if (array->served && id) atomic_store_explicit(&array->served[slot - array->slots], mr_serving_word(id, w), memory_order_relaxed);
}

static inline void mr_prefetch_row(const mr_view *view, uint64_t id) {
  __builtin_prefetch(&view->current.slots[mr_position(&view->current, id)], 0, 3);
}

/// The slot of `id`, ready to be changed (moved to the newest array, kept aside for a capture), inserted when it is not
/// there. Never grows: reserve first. Null only when the array is full.
mr_slot *mr_table_touch(mr_table *table, uint64_t id, uint64_t *inserted);
/// Makes room for `more` rows. False when memory is out and the table is nearly full.
bool mr_table_reserve(mr_table *table, uint64_t more);

/// Maps zeroed, aligned memory for slots: huge pages where it is large. Null when out.
void *mr_map(size_t bytes, size_t *mapped);
void mr_unmap(void *memory, size_t mapped);
