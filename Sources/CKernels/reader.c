#include "mr_reader.h"

#include <stdatomic.h>
#include <stdlib.h>

// Own cache line each: readers write their epoch at every batch.
struct mr_reader {
  _Alignas(64) _Atomic uint64_t epoch;  // 0: outside
  _Atomic bool in_use;
  struct mr_reader *next;  // set once, before the node is published
};

static _Atomic uint64_t global_epoch = 1;
// Nodes are pushed and never taken out: a released one is used again, so the list is as long as the most readers there ever were.
static _Atomic(mr_reader *) readers;

mr_reader *mr_reader_register(void) {
  for (mr_reader *r = atomic_load_explicit(&readers, memory_order_acquire); r; r = r->next) {
    bool expected = false;
    if (atomic_compare_exchange_strong(&r->in_use, &expected, true)) return r;
  }
  mr_reader *r = aligned_alloc(64, sizeof(mr_reader));
  if (!r) return NULL;
  atomic_init(&r->epoch, 0);
  atomic_init(&r->in_use, true);
  mr_reader *head = atomic_load_explicit(&readers, memory_order_relaxed);
  do r->next = head;
  while (!atomic_compare_exchange_weak_explicit(&readers, &head, r, memory_order_release, memory_order_relaxed));
  return r;
}

void mr_reader_release(mr_reader *r) {
  atomic_store_explicit(&r->epoch, 0, memory_order_release);
  atomic_store_explicit(&r->in_use, false, memory_order_release);
}

void mr_reader_enter(mr_reader *r) {
  uint64_t now = atomic_load_explicit(&global_epoch, memory_order_relaxed);
  // Sequentially consistent, against the fence in mr_reader_quiescent: either the writer sees this epoch, or
  // this reader sees what the writer published before it looked.
  atomic_store_explicit(&r->epoch, now, memory_order_seq_cst);
  atomic_thread_fence(memory_order_seq_cst);
}

void mr_reader_leave(mr_reader *r) { atomic_store_explicit(&r->epoch, 0, memory_order_release); }

uint64_t mr_reader_retire_epoch(void) { return atomic_fetch_add_explicit(&global_epoch, 1, memory_order_seq_cst); }

bool mr_reader_quiescent(uint64_t epoch) {
  atomic_thread_fence(memory_order_seq_cst);
  for (mr_reader *r = atomic_load_explicit(&readers, memory_order_acquire); r; r = r->next) {
    uint64_t seen = atomic_load_explicit(&r->epoch, memory_order_acquire);
    if (seen != 0 && seen <= epoch) return false;
  }
  return true;
}
