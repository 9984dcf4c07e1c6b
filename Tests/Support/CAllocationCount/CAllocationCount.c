#include "CAllocationCount.h"

#include <errno.h>
#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZER_OWNS_MALLOC 1
#endif
#endif

#if defined(__GLIBC__) || defined(__linux__)
#if !defined(SANITIZER_OWNS_MALLOC)
#define COUNTED 1
#endif
#endif

#ifdef COUNTED

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

static __thread uint64_t of_thread;
static uint64_t of_process;

static inline void count(void) {
  of_thread++;
  __atomic_fetch_add(&of_process, 1, __ATOMIC_RELAXED);
}

void *malloc(size_t bytes) {
  count();
  return __libc_malloc(bytes);
}

void *calloc(size_t items, size_t bytes) {
  count();
  return __libc_calloc(items, bytes);
}

void *realloc(void *pointer, size_t bytes) {
  count();
  return __libc_realloc(pointer, bytes);
}

void *memalign(size_t alignment, size_t bytes) {
  count();
  return __libc_memalign(alignment, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes) {
  count();
  return __libc_memalign(alignment, bytes);
}

int posix_memalign(void **pointer, size_t alignment, size_t bytes) {
  if (alignment < sizeof(void *) || (alignment & (alignment - 1)) != 0) return EINVAL;
  count();
  void *taken = __libc_memalign(alignment, bytes);
  if (taken == NULL) return ENOMEM;
  *pointer = taken;
  return 0;
}

uint64_t mr_allocations_of_thread(void) { return of_thread; }
uint64_t mr_allocations_of_process(void) { return __atomic_load_n(&of_process, __ATOMIC_RELAXED); }
bool mr_allocations_are_counted(void) { return true; }

#else

uint64_t mr_allocations_of_thread(void) { return 0; }
uint64_t mr_allocations_of_process(void) { return 0; }
bool mr_allocations_are_counted(void) { return false; }

#endif
