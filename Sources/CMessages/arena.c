// Hot: allocates only while the arena still grows.
#include "arena.h"

#include <stdlib.h>

enum { first_block_bytes = 16 * 1024, alignment = 16 };

typedef struct block {
  struct block *next;
  size_t capacity;
  _Alignas(16) uint8_t bytes[];
} block;

struct mr_arena {
  ProtobufCAllocator allocator;
  block *blocks;    // the newest first; after a reset there is one
  size_t position;  // in the newest block
  size_t used;
  size_t bytes_max;
  bool exhausted;
};

static void *allocator_take(void *arena, size_t bytes) { return mr_arena_take(arena, bytes); }
static void allocator_free(void *arena, void *pointer) {
  (void)arena;
  (void)pointer;
}

static block *block_create(size_t capacity) {
  block *created = malloc(sizeof(block) + capacity);
  if (created == NULL) return NULL;
  created->next = NULL;
  created->capacity = capacity;
  return created;
}

mr_arena *mr_arena_create(size_t bytes_max) {
  mr_arena *arena = calloc(1, sizeof(mr_arena));
  if (arena == NULL) return NULL;
  arena->bytes_max = bytes_max;
  arena->allocator.alloc = allocator_take;
  arena->allocator.free = allocator_free;
  arena->allocator.allocator_data = arena;
  return arena;
}

static void blocks_free(block *first) {
  while (first != NULL) {
    block *next = first->next;
    free(first);
    first = next;
  }
}

void mr_arena_destroy(mr_arena *arena) {
  if (arena == NULL) return;
  blocks_free(arena->blocks);
  free(arena);
}

void mr_arena_reset(mr_arena *arena) {
  if (arena->blocks != NULL && arena->blocks->next != NULL) {
    // Several blocks were needed: next time one block holds as much.
    size_t total = 0;
    for (block *each = arena->blocks; each != NULL; each = each->next) total += each->capacity;
    blocks_free(arena->blocks);
    arena->blocks = block_create(total);
  }
  arena->position = 0;
  arena->used = 0;
  arena->exhausted = false;
}

void *mr_arena_take(mr_arena *arena, size_t bytes) {
  if (bytes > arena->bytes_max) {
    arena->exhausted = true;
    return NULL;
  }
  size_t rounded = (bytes + (alignment - 1)) & ~(size_t)(alignment - 1);
  if (rounded > arena->bytes_max - (arena->used < arena->bytes_max ? arena->used : arena->bytes_max)) {
    arena->exhausted = true;
    return NULL;
  }
  block *current = arena->blocks;
  if (current == NULL || rounded > current->capacity - arena->position) {
    size_t capacity = current == NULL ? first_block_bytes : current->capacity * 2;
    if (capacity < rounded) capacity = rounded;
    block *created = block_create(capacity);
    if (created == NULL) {
      arena->exhausted = true;
      return NULL;
    }
    created->next = current;
    arena->blocks = current = created;
    arena->position = 0;
  }
  void *taken = current->bytes + arena->position;
  arena->position += rounded;
  arena->used += rounded;
  return taken;
}

bool mr_arena_is_exhausted(const mr_arena *arena) { return arena->exhausted; }
size_t mr_arena_used(const mr_arena *arena) { return arena->used; }
ProtobufCAllocator *mr_arena_allocator(mr_arena *arena) { return &arena->allocator; }
