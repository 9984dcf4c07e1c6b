#define _GNU_SOURCE
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "table_internal.h"

#define CAPACITY_MIN UINT64_C(64)
#define CAPACITY_MAX (UINT64_C(1) << 40)
#define HUGE_PAGE ((size_t)2 << 20)
// Slots moved for each row touched. A new array is twice the old one and starts at half the load at which it grows
// itself, so 2 would do to be done in time; 8 ends the double look-ups sooner.
#define MOVES_PER_ROW 8

struct mr_retired {
  struct mr_retired *next;
  uint64_t epoch;
  mr_view *view;
  mr_array array;  // slots null: the view alone
};

void *mr_map(size_t bytes, size_t *mapped) {
  size_t page = bytes >= HUGE_PAGE ? HUGE_PAGE : 4096;
  if (bytes > SIZE_MAX - 2 * HUGE_PAGE) return NULL;
  size_t size = (bytes + page - 1) / page * page;
  size_t asked = page == HUGE_PAGE ? size + HUGE_PAGE : size;
  char *memory = mmap(NULL, asked, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return NULL;
  if (page == HUGE_PAGE) {
    // Cut to the alignment that a huge page needs.
    size_t head = (HUGE_PAGE - (uintptr_t)memory % HUGE_PAGE) % HUGE_PAGE;
    if (head) munmap(memory, head);
    memory += head;
    size_t tail = asked - head - size;
    if (tail) munmap(memory + size, tail);
#ifdef MADV_HUGEPAGE
    madvise(memory, size, MADV_HUGEPAGE);  // advice: without it the table is slower, not wrong
#endif
  }
  *mapped = size;
  return memory;
}

void mr_unmap(void *memory, size_t mapped) {
  if (memory) munmap(memory, mapped);
}

static bool make_array(uint64_t capacity, bool serving, mr_array *array) {
  if (capacity > CAPACITY_MAX) return false;
  size_t mapped = 0, served_mapped = 0;
  mr_slot *slots = mr_map((size_t)capacity * sizeof(mr_slot), &mapped);
  if (!slots) return false;
  _Atomic uint64_t *served = serving ? mr_map((size_t)capacity * 8, &served_mapped) : NULL;
  if (serving && !served) {
    mr_unmap(slots, mapped);
    return false;
  }
  *array = (mr_array){slots, capacity - 1, 64 - __builtin_ctzll(capacity), mapped, served, served_mapped};
  return true;
}

static void unmap_array(const mr_array *array) {
  mr_unmap(array->slots, array->mapped);
  mr_unmap((void *)array->served, array->served_mapped);
}

// 0.6 of the capacity, in integers.
static uint64_t threshold_of(uint64_t capacity) { return capacity / 5 * 3; }

mr_table *mr_table_create(uint64_t rows_expected) {
  uint64_t capacity = CAPACITY_MIN;
  while (threshold_of(capacity) < rows_expected) {
    if (capacity >= CAPACITY_MAX) return NULL;
    capacity *= 2;
  }
  mr_table *t = aligned_alloc(64, (sizeof(mr_table) + 63) / 64 * 64);
  mr_view *view = calloc(1, sizeof(mr_view));
  if (!t || !view || !make_array(capacity, false, &view->current)) {
    free(t);
    free(view);
    return NULL;
  }
  memset(t, 0, sizeof *t);
  atomic_init(&t->view, view);
  atomic_init(&t->bytes, view->current.mapped);
  t->threshold = threshold_of(capacity);
  return t;
}

static void free_retired(struct mr_retired *r) {
  unmap_array(&r->array);
  free(r->view);
  free(r);
}

void mr_table_destroy(mr_table *t) {
  if (!t) return;
  mr_table_capture_end(t);
  while (t->retired) {
    struct mr_retired *next = t->retired->next;
    free_retired(t->retired);
    t->retired = next;
  }
  mr_view *view = atomic_load_explicit(&t->view, memory_order_relaxed);
  unmap_array(&view->current);
  unmap_array(&view->previous);
  free(view);
  free(t);
}

uint64_t mr_table_rows(const mr_table *t) { return atomic_load_explicit((_Atomic uint64_t *)&t->rows, memory_order_relaxed); }
uint64_t mr_table_bytes(const mr_table *t) { return atomic_load_explicit((_Atomic uint64_t *)&t->bytes, memory_order_relaxed); }
uint64_t mr_table_capacity(const mr_table *t) { return mr_view_of(t)->current.mask + 1; }

// MARK: hash

uint64_t mr_row_hash(const mr_row *row) {
  uint64_t state = mr_fold64(row->id ^ UINT64_C(0x243F6A8885A308D3),
                             ((uint64_t)mr_float_bits(row->n) << 32 | mr_float_bits(row->z)) ^ UINT64_C(0x13198A2E03707344));
  uint64_t rest = mr_fold64(row->id + row->touched + UINT64_C(0xA4093822299F31D0), (uint64_t)row->count ^ UINT64_C(0x082EFA98EC4E6C89));
  return mr_mix64(state + (rest << 1 | rest >> 63));
}

static inline mr_row copy_of(const mr_slot *slot, uint64_t id) {
  return (mr_row){id, slot->z, slot->n, mr_slot_weight(slot), slot->touched, slot->count};
}

uint64_t mr_table_state_hash(const mr_table *t) { return t->hash; }

uint64_t mr_table_recompute_state_hash(const mr_table *t) {
  mr_row rows[256];
  uint64_t cursor = 0, sum = 0;
  size_t n;
  while ((n = mr_table_scan(t, &cursor, rows, 256)))
    for (size_t i = 0; i < n; i++) sum += mr_row_hash(&rows[i]);
  return sum;
}

size_t mr_ids_ascending(const void *ids, size_t count) {
  const char *p = ids;
  uint64_t before, id;
  if (count == 0) return 0;
  memcpy(&before, p, 8);
  for (size_t i = 1; i < count; i++) {
    memcpy(&id, p + i * 8, 8);
    if (id <= before) return i;
    before = id;
  }
  return count;
}

// MARK: capture

static inline bool bit(const uint64_t *bits, uint64_t i) { return bits[i >> 6] >> (i & 63) & 1; }
static inline void set_bit(uint64_t *bits, uint64_t i) { bits[i >> 6] |= UINT64_C(1) << (i & 63); }

static uint64_t *make_bits(uint64_t capacity) { return calloc((size_t)(capacity / 64), 8); }

static void keep_aside(mr_table *t, const mr_slot *slot, uint64_t id) {
  if (t->aside_count == t->aside_capacity) {
    size_t capacity = t->aside_capacity ? t->aside_capacity * 2 : 1024;
    mr_row *grown = realloc(t->aside, capacity * sizeof(mr_row));
    if (!grown) {
      t->capture_failed = true;
      return;
    }
    t->aside = grown;
    t->aside_capacity = capacity;
  }
  t->aside[t->aside_count++] = copy_of(slot, id);
}

bool mr_table_capture_begin(mr_table *t) {
  if (t->capturing) return false;
  const mr_view *view = mr_view_of(t);
  t->captured_current = make_bits(view->current.mask + 1);
  t->captured_previous = view->previous.slots ? make_bits(view->previous.mask + 1) : NULL;
  if (!t->captured_current || (view->previous.slots && !t->captured_previous)) {
    mr_table_capture_end(t);
    return false;
  }
  t->capturing = true;
  t->capture_failed = false;
  t->scan_current = t->scan_previous = 0;
  t->aside_count = t->aside_taken = 0;
  if (atomic_load_explicit(&t->zero.id, memory_order_relaxed)) keep_aside(t, &t->zero, 0);
  return true;
}

void mr_table_capture_end(mr_table *t) {
  free(t->captured_current);
  free(t->captured_previous);
  free(t->aside);
  t->captured_current = t->captured_previous = NULL;
  t->aside = NULL;
  t->aside_count = t->aside_capacity = t->aside_taken = 0;
  t->capturing = t->capture_failed = false;
}

size_t mr_table_capture_slice(mr_table *t, mr_row *out, size_t rows_max, uint64_t slots_max, bool *done, bool *failed) {
  *done = false;
  *failed = !t->capturing || t->capture_failed;
  if (*failed) return 0;
  size_t count = 0;
  while (count < rows_max && t->aside_taken < t->aside_count) out[count++] = t->aside[t->aside_taken++];
  if (t->aside_taken == t->aside_count) t->aside_taken = t->aside_count = 0;
  const mr_view *view = mr_view_of(t);
  if (t->captured_previous) {
    const mr_array *array = &view->previous;
    for (; t->scan_previous <= array->mask && count < rows_max && slots_max; t->scan_previous++, slots_max--) {
      uint64_t i = t->scan_previous;
      uint64_t id = atomic_load_explicit(&array->slots[i].id, memory_order_relaxed);
      // Moved rows answer for themselves in the newer array.
      if (id == 0 || i < t->migrate_cursor || bit(t->captured_previous, i) || mr_probe(&view->current, id)) continue;
      out[count++] = copy_of(&array->slots[i], id);
      set_bit(t->captured_previous, i);
    }
    if (t->scan_previous <= array->mask) return count;
  }
  const mr_array *array = &view->current;
  for (; t->scan_current <= array->mask && count < rows_max && slots_max; t->scan_current++, slots_max--) {
    uint64_t i = t->scan_current;
    uint64_t id = atomic_load_explicit(&array->slots[i].id, memory_order_relaxed);
    if (id == 0 || bit(t->captured_current, i)) continue;
    out[count++] = copy_of(&array->slots[i], id);
    set_bit(t->captured_current, i);
  }
  // Rows that are moved later bring their bit along, so a slot behind the scan never needs a second look, except
  // that a row not handed out may have been moved to one: those are kept aside on moving.
  *done = t->scan_current > array->mask && t->aside_taken == t->aside_count;
  return count;
}

// MARK: growth

static void publish(mr_table *t, mr_view *next, mr_array replaced) {
  mr_view *old = atomic_load_explicit(&t->view, memory_order_relaxed);
  atomic_store_explicit(&t->view, next, memory_order_seq_cst);
  struct mr_retired *r = malloc(sizeof *r);
  if (!r) return;  // leaks the old array rather than free what a reader may hold
  *r = (struct mr_retired){t->retired, mr_reader_retire_epoch(), old, replaced};
  t->retired = r;
}

static void reclaim(mr_table *t) {
  struct mr_retired **link = &t->retired;
  while (*link) {
    struct mr_retired *r = *link;
    if (!mr_reader_quiescent(r->epoch)) {
      link = &r->next;
      continue;
    }
    *link = r->next;
    atomic_fetch_sub_explicit(&t->bytes, r->array.mapped + r->array.served_mapped, memory_order_relaxed);
    free_retired(r);
  }
}

// The first free slot for an id that is not in the array.
static mr_slot *free_slot(const mr_array *array, uint64_t id) {
  uint64_t i = mr_position(array, id);
  while (atomic_load_explicit(&array->slots[i].id, memory_order_relaxed)) i = (i + 1) & array->mask;
  return &array->slots[i];
}

static mr_slot *move_row(mr_table *t, const mr_view *view, const mr_slot *from, uint64_t id) {
  mr_slot *to = free_slot(&view->current, id);
  to->z = from->z;
  to->n = from->n;
  to->touched = from->touched;
  to->count = from->count;
  mr_set_weight(t, to, id, mr_slot_weight(from));
  // The id last: a reader that sees it sees the row.
  atomic_store_explicit(&to->id, id, memory_order_release);
  if (t->capturing) {
    uint64_t source = (uint64_t)(from - view->previous.slots), target = (uint64_t)(to - view->current.slots);
    bool taken = t->captured_previous && bit(t->captured_previous, source);
    if (!taken && target < t->scan_current) {
      keep_aside(t, from, id);
      taken = true;
    }
    if (taken) set_bit(t->captured_current, target);
    if (t->captured_previous) set_bit(t->captured_previous, source);
  }
  return to;
}

bool mr_table_growing(const mr_table *t) { return mr_view_of(t)->previous.slots != NULL; }

static void migrate(mr_table *t, uint64_t slots_max) {
  const mr_view *view = mr_view_of(t);
  const mr_array *array = &view->previous;
  if (!array->slots) return;
  for (; t->migrate_cursor <= array->mask && slots_max; t->migrate_cursor++, slots_max--) {
    uint64_t i = t->migrate_cursor;
    if (i + 16 <= array->mask) {
      uint64_t ahead = atomic_load_explicit(&array->slots[i + 16].id, memory_order_relaxed);
      if (ahead) __builtin_prefetch(&view->current.slots[mr_position(&view->current, ahead)], 1, 3);
    }
    uint64_t id = atomic_load_explicit(&array->slots[i].id, memory_order_relaxed);
    if (id == 0 || mr_probe(&view->current, id)) continue;
    move_row(t, view, &array->slots[i], id);
  }
  if (t->migrate_cursor <= array->mask) return;
  mr_view *next = calloc(1, sizeof(mr_view));
  if (!next) return;  // tried again with the next slice; meanwhile readers look in both
  next->current = view->current;
  free(t->captured_previous);
  t->captured_previous = NULL;
  publish(t, next, view->previous);
}

static bool grow(mr_table *t) {
  const mr_view *view = mr_view_of(t);
  if (view->previous.slots) {
    migrate(t, UINT64_MAX);  // cannot be: MOVES_PER_ROW is enough. But a full table would never end a probe.
    view = mr_view_of(t);
    if (view->previous.slots) return false;
  }
  mr_view *next = calloc(1, sizeof(mr_view));
  if (!next || !make_array((view->current.mask + 1) * 2, t->serving, &next->current)) {
    free(next);
    return false;
  }
  if (t->capturing) {
    t->captured_previous = t->captured_current;
    t->scan_previous = t->scan_current;
    t->captured_current = make_bits(next->current.mask + 1);
    t->scan_current = 0;
    if (!t->captured_current) {
      mr_table_capture_end(t);
      t->capturing = false;
      t->capture_failed = true;
    }
  }
  next->previous = view->current;
  t->migrate_cursor = 0;
  t->threshold = threshold_of(next->current.mask + 1);
  atomic_fetch_add_explicit(&t->bytes, next->current.mapped + next->current.served_mapped, memory_order_relaxed);
  publish(t, next, (mr_array){0});
  return true;
}

static bool serve_array(mr_table *t, mr_array *array) {
  array->served = mr_map((size_t)(array->mask + 1) * 8, &array->served_mapped);
  if (!array->served) return false;
  for (uint64_t i = 0; i <= array->mask; i++) {
    uint64_t id = atomic_load_explicit(&array->slots[i].id, memory_order_relaxed);
    if (id) atomic_store_explicit(&array->served[i], mr_serving_word(id, mr_slot_weight(&array->slots[i])), memory_order_relaxed);
  }
  atomic_fetch_add_explicit(&t->bytes, array->served_mapped, memory_order_relaxed);
  return true;
}

bool mr_table_serve(mr_table *t) {
  if (t->serving) return true;
  const mr_view *old = mr_view_of(t);
  mr_view *view = malloc(sizeof *view);
  if (!view) return false;
  *view = *old;
  bool made = serve_array(t, &view->current);
  if (!made || (view->previous.slots && !serve_array(t, &view->previous))) {
    if (made) {
      atomic_fetch_sub_explicit(&t->bytes, view->current.served_mapped, memory_order_relaxed);
      mr_unmap((void *)view->current.served, view->current.served_mapped);
    }
    free(view);
    return false;
  }
  t->serving = true;
  publish(t, view, (mr_array){0});
  return true;
}

bool mr_table_serving(const mr_table *t) { return mr_view_of(t)->current.served != NULL; }

bool mr_table_reserve(mr_table *t, uint64_t more) {
  uint64_t rows = atomic_load_explicit(&t->rows, memory_order_relaxed);
  while (rows + more > t->threshold) {
    if (!grow(t)) {
      // Out of memory: go on to a higher load, slower, and give up before probes become endless.
      uint64_t capacity = mr_table_capacity(t);
      return rows + more <= capacity / 10 * 9;
    }
  }
  return true;
}

void mr_table_work(mr_table *t, uint64_t slots_max) {
  migrate(t, slots_max);
  if (t->retired) reclaim(t);
}

// MARK: rows

mr_slot *mr_table_touch(mr_table *t, uint64_t id, uint64_t *inserted) {
  if (__builtin_expect(id == 0, 0)) {
    // A capture has the row already: it was kept aside at the start.
    if (!atomic_load_explicit(&t->zero.id, memory_order_relaxed)) {
      atomic_store_explicit(&t->zero.id, 1, memory_order_release);
      atomic_fetch_add_explicit(&t->rows, 1, memory_order_relaxed);
      ++*inserted;
    }
    return &t->zero;
  }
  const mr_view *view = atomic_load_explicit(&t->view, memory_order_relaxed);
  mr_slot *slot = mr_probe(&view->current, id);
  if (__builtin_expect(slot == NULL, 0)) {
    const mr_slot *old = view->previous.slots ? mr_probe(&view->previous, id) : NULL;
    if (old) {
      slot = move_row(t, view, old, id);
    } else {
      slot = free_slot(&view->current, id);
      if (t->capturing) set_bit(t->captured_current, (uint64_t)(slot - view->current.slots));
      // With weight 0 for now: rows behind it in its run must be found.
      mr_set_weight(t, slot, id, 0);
      atomic_store_explicit(&slot->id, id, memory_order_release);
      uint64_t rows = atomic_load_explicit(&t->rows, memory_order_relaxed);
      atomic_store_explicit(&t->rows, rows + 1, memory_order_relaxed);
      ++*inserted;
      return slot;
    }
  }
  if (__builtin_expect(t->capturing, 0)) {
    uint64_t i = (uint64_t)(slot - view->current.slots);
    if (!bit(t->captured_current, i)) {
      keep_aside(t, slot, id);
      set_bit(t->captured_current, i);
    }
  }
  return slot;
}

bool mr_table_get(const mr_table *t, uint64_t id, mr_row *out) {
  const mr_slot *slot = mr_look_up(t, mr_view_of(t), id);
  if (!slot) {
    *out = (mr_row){.id = id};
    return false;
  }
  *out = copy_of(slot, id);
  return true;
}

bool mr_table_put(mr_table *t, const mr_row *row) {
  if (!mr_table_reserve(t, 1)) return false;
  uint64_t inserted = 0;
  mr_slot *slot = mr_table_touch(t, row->id, &inserted);
  if (!inserted) {
    mr_row old = copy_of(slot, row->id);
    t->hash -= mr_row_hash(&old);
  }
  slot->z = row->z;
  slot->n = row->n;
  slot->touched = row->touched;
  slot->count = row->count;
  mr_set_weight(t, slot, row->id, row->w);
  t->hash += mr_row_hash(row);
  mr_table_work(t, MOVES_PER_ROW);
  return true;
}

size_t mr_table_scan(const mr_table *t, uint64_t *cursor, mr_row *out, size_t rows_max) {
  const mr_view *view = mr_view_of(t);
  size_t count = 0;
  // Cursor 0 is the row of id 0, then the slots of `current`, then those of `previous`.
  if (*cursor == 0 && rows_max) {
    if (atomic_load_explicit((_Atomic uint64_t *)&t->zero.id, memory_order_relaxed)) out[count++] = copy_of(&t->zero, 0);
    *cursor = 1;
  }
  uint64_t first = view->current.mask + 1, second = view->previous.slots ? view->previous.mask + 1 : 0;
  while (count < rows_max && *cursor <= first + second) {
    uint64_t i = *cursor - 1;
    if (i >= first + second) break;
    const mr_slot *slot = i < first ? &view->current.slots[i] : &view->previous.slots[i - first];
    uint64_t id = atomic_load_explicit((_Atomic uint64_t *)&slot->id, memory_order_relaxed);
    ++*cursor;
    if (id == 0 || (i >= first && mr_probe(&view->current, id))) continue;
    out[count++] = copy_of(slot, id);
  }
  return count;
}
