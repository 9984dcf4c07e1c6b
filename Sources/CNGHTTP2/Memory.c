// Memory of nghttp2's sessions. One thread at a time: no lock, no atomic.
//
// A session takes and frees about a dozen small blocks for each stream. They come from chunks, in a few sizes, and wait in a list of
// their size when freed. Chunks go back when the memory is destroyed; blocks beyond SMALL_MAX come from malloc each time.
#include <stdlib.h>

#include "CNGHTTP2.h"

enum {
  HEADER = 16,            // In front of every block: its class. Keeps blocks aligned to 16 bytes.
  SMALL_MAX = 4096,       // Bytes of the largest block with a list.
  STEPS = 4,              // Classes for each power of two: at most a fifth of a block is lost.
  CLASSES = 33,           // 16, 20, 24, 28, 32, 40 … 4096 bytes.
  CHUNK = 64 * 1024,
  LARGE = CLASSES,
};

typedef struct block {
  struct block *next;
} block;

typedef struct chunk {
  struct chunk *next;
  void *aligned_to_sixteen;
} chunk;

struct mr_memory {
  nghttp2_mem functions;
  block *free[CLASSES];
  chunk *chunks;
  unsigned char *rest;
  size_t rest_bytes;
  size_t bytes;
};

typedef struct {
  size_t class_index;
  size_t bytes;
} header;

_Static_assert(sizeof(header) == HEADER, "a block's header is 16 bytes");
_Static_assert(sizeof(chunk) == 16, "blocks of a chunk begin aligned");

// Class c holds 16 * (4 + c % 4) / 4 * 2^(c / 4) bytes.
static inline size_t class_bytes(size_t c) { return ((size_t)16 * (STEPS + c % STEPS) / STEPS) << (c / STEPS); }

static inline size_t class_of(size_t bytes) {
  if (bytes <= 16) return 0;
  size_t power = (size_t)(63 - __builtin_clzll(bytes - 1)) - 4;  // bytes - 1 is in [16 << power, 32 << power)
  size_t step = ((bytes - 1) >> (power + 2)) & (STEPS - 1);
  return power * STEPS + step + 1;
}

static void *take(size_t bytes, void *user) {
  mr_memory *memory = user;
  if (bytes > SMALL_MAX) {
    if (bytes > SIZE_MAX - HEADER) return NULL;
    header *large = malloc(HEADER + bytes);
    if (large == NULL) return NULL;
    large->class_index = LARGE;
    large->bytes = bytes;
    memory->bytes += HEADER + bytes;
    return (unsigned char *)large + HEADER;
  }
  size_t c = class_of(bytes);
  block *reused = memory->free[c];
  if (reused != NULL) {
    memory->free[c] = reused->next;
    return reused;
  }
  size_t size = (HEADER + class_bytes(c) + 15) & ~(size_t)15;
  if (memory->rest_bytes < size) {
    chunk *made = malloc(CHUNK);
    if (made == NULL) return NULL;
    memory->bytes += CHUNK;
    made->next = memory->chunks;
    memory->chunks = made;
    memory->rest = (unsigned char *)made + sizeof(chunk);
    memory->rest_bytes = CHUNK - sizeof(chunk);
  }
  header *small = (header *)memory->rest;
  memory->rest += size;
  memory->rest_bytes -= size;
  small->class_index = c;
  small->bytes = class_bytes(c);
  return (unsigned char *)small + HEADER;
}

static void give_back(void *pointer, void *user) {
  if (pointer == NULL) return;
  mr_memory *memory = user;
  header *of = (header *)((unsigned char *)pointer - HEADER);
  if (of->class_index == LARGE) {
    memory->bytes -= HEADER + of->bytes;
    free(of);
    return;
  }
  block *freed = pointer;
  freed->next = memory->free[of->class_index];
  memory->free[of->class_index] = freed;
}

static void *take_zeroed(size_t items, size_t bytes, void *user) {
  size_t all;
  if (__builtin_mul_overflow(items, bytes, &all)) return NULL;
  void *taken = take(all, user);
  if (taken != NULL) memset(taken, 0, all);
  return taken;
}

static void *take_more(void *pointer, size_t bytes, void *user) {
  if (pointer == NULL) return take(bytes, user);
  header *of = (header *)((unsigned char *)pointer - HEADER);
  if (bytes <= of->bytes) return pointer;
  void *taken = take(bytes, user);
  if (taken == NULL) return NULL;
  memcpy(taken, pointer, of->bytes);
  give_back(pointer, user);
  return taken;
}

mr_memory *mr_memory_create(void) {
  mr_memory *memory = calloc(1, sizeof(mr_memory));
  if (memory == NULL) return NULL;
  memory->functions = (nghttp2_mem){memory, take, give_back, take_zeroed, take_more};
  memory->bytes = sizeof(mr_memory);
  return memory;
}

void mr_memory_destroy(mr_memory *memory) {
  if (memory == NULL) return;
  for (chunk *each = memory->chunks; each != NULL;) {
    chunk *next = each->next;
    free(each);
    each = next;
  }
  free(memory);
}

nghttp2_mem *mr_memory_functions(mr_memory *memory) { return &memory->functions; }

size_t mr_memory_bytes(const mr_memory *memory) { return memory->bytes; }
