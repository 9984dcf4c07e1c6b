// Memory in huge pages.
#pragma once
#include <stddef.h>

/// Anonymous zeroed memory that begins at a multiple of 2 MiB, in huge pages where the system gives them. Null when there is none or
/// `bytes` is 0. Freed with the same size.
void *mr_pages_allocate(size_t bytes);
void mr_pages_free(void *pages, size_t bytes);
/// The same memory, or the same pages elsewhere, for `new_bytes`: what stands in both stays, pages that are new are zeros. Null when there is
/// no memory; then `pages` are as they were.
void *mr_pages_resize(void *pages, size_t bytes, size_t new_bytes);
/// munmap of any mapping, in slices: while pages of one large piece are given back, no other thread of the process can map memory.
void mr_pages_unmap(void *mapping, size_t bytes);
