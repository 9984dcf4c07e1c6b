#include "table_internal.h"

static void exchange_word(_Atomic uint64_t *a, _Atomic uint64_t *b) {
  uint64_t was = atomic_load_explicit(a, memory_order_relaxed);
  atomic_store_explicit(a, atomic_load_explicit(b, memory_order_relaxed), memory_order_relaxed);
  atomic_store_explicit(b, was, memory_order_relaxed);
}

static mr_slot copy_slot(mr_slot *slot) {
  mr_slot copy = {.z = slot->z, .n = slot->n, .touched = slot->touched, .count = slot->count};
  atomic_init(&copy.id, atomic_load_explicit(&slot->id, memory_order_relaxed));
  atomic_init(&copy.w, atomic_load_explicit(&slot->w, memory_order_relaxed));
  return copy;
}

static void set_slot(mr_slot *to, const mr_slot *from) {
  to->z = from->z;
  to->n = from->n;
  to->touched = from->touched;
  to->count = from->count;
  atomic_store_explicit(&to->w, atomic_load_explicit((_Atomic uint32_t *)&from->w, memory_order_relaxed), memory_order_relaxed);
  atomic_store_explicit(&to->id, atomic_load_explicit((_Atomic uint64_t *)&from->id, memory_order_relaxed), memory_order_release);
}

uint64_t mr_table_exchange(mr_table *a, mr_table *b) {
  // Who is served from the short form stays so; without memory for it `a` is served from its rows.
  if (a->serving) mr_table_serve(b);
  mr_table_capture_end(a);
  mr_table_capture_end(b);
  mr_view *was = atomic_load_explicit(&a->view, memory_order_relaxed);
  atomic_store_explicit(&a->view, atomic_load_explicit(&b->view, memory_order_relaxed), memory_order_seq_cst);
  atomic_store_explicit(&b->view, was, memory_order_seq_cst);
  mr_slot zero = copy_slot(&a->zero);
  set_slot(&a->zero, &b->zero);
  set_slot(&b->zero, &zero);
  exchange_word(&a->rows, &b->rows);
  exchange_word(&a->bytes, &b->bytes);
#define EXCHANGE(type, field) do { type kept = a->field; a->field = b->field; b->field = kept; } while (0)
  EXCHANGE(uint64_t, threshold);
  EXCHANGE(uint64_t, migrate_cursor);
  EXCHANGE(uint64_t, hash);
  EXCHANGE(bool, serving);
  EXCHANGE(struct mr_retired *, retired);
#undef EXCHANGE
  return mr_reader_retire_epoch();
}
