#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "mr_pages.h"

#define HUGE_PAGE ((size_t)2 << 20)
/// What is given back at once.
#define SLICE ((size_t)8 << 20)

static size_t rounded(size_t bytes) { return (bytes + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1); }

void *mr_pages_allocate(size_t bytes) {
  if (bytes == 0 || bytes > SIZE_MAX / 2) return NULL;
  const size_t size = rounded(bytes);
  uint8_t *mapped = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return NULL;
  // A huge page begins at a multiple of its size: what is before and after goes back.
  const size_t before = (HUGE_PAGE - ((uintptr_t)mapped & (HUGE_PAGE - 1))) & (HUGE_PAGE - 1);
  if (before) munmap(mapped, before);
  if (HUGE_PAGE - before) munmap(mapped + before + size, HUGE_PAGE - before);
#if defined(MADV_HUGEPAGE)
  // Where it is refused, pages are small: slower and not wrong.
  (void)madvise(mapped + before, size, MADV_HUGEPAGE);
#endif
  return mapped + before;
}

void mr_pages_free(void *pages, size_t bytes) {
  if (pages) mr_pages_unmap(pages, rounded(bytes));
}

void *mr_pages_resize(void *pages, size_t bytes, size_t new_bytes) {
  if (!pages || new_bytes == 0 || new_bytes > SIZE_MAX / 2) return NULL;
  const size_t size = rounded(bytes), new_size = rounded(new_bytes);
  if (new_size < size) mr_pages_unmap((uint8_t *)pages + new_size, size - new_size);
  if (new_size <= size) return pages;
  uint8_t *grown = mr_pages_allocate(new_bytes);
  if (!grown) return NULL;
#if defined(MREMAP_FIXED)
  // Pages move with their addresses alone: what was there is neither read nor written.
  if (mremap(pages, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, grown) != MAP_FAILED) return grown;
#endif
  memcpy(grown, pages, bytes);
  mr_pages_free(pages, bytes);
  return grown;
}

void mr_pages_unmap(void *mapping, size_t bytes) {
#if defined(MADV_DONTNEED)
  for (size_t done = 0; done < bytes; done += SLICE) {
    const size_t left = bytes - done;
    (void)madvise((uint8_t *)mapping + done, left < SLICE ? left : SLICE, MADV_DONTNEED);
  }
#endif
  munmap(mapping, bytes);
}
