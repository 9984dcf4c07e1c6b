#pragma once
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Bump memory for the messages of one record: taken piece by piece, given back all at once by `mr_arena_reset`. It
/// grows to what the largest record needed and stays there, so the steady state allocates nothing. Not for two threads.
typedef struct mr_arena mr_arena;

/// An arena that hands out at most `bytes_max` between two resets. NULL when there is no memory.
mr_arena *_Nullable mr_arena_create(size_t bytes_max);
void mr_arena_destroy(mr_arena *_Nullable arena);
/// Forgets everything handed out.
void mr_arena_reset(mr_arena *_Nonnull arena);
/// NULL when the bound would be passed (then `mr_arena_is_exhausted`) or there is no memory. Aligned to 16.
void *_Nullable mr_arena_take(mr_arena *_Nonnull arena, size_t bytes);
/// A request since the last reset was refused.
bool mr_arena_is_exhausted(const mr_arena *_Nonnull arena);
/// Bytes handed out since the last reset.
size_t mr_arena_used(const mr_arena *_Nonnull arena);
/// The arena as protobuf-c wants it; freeing does nothing.
ProtobufCAllocator *_Nonnull mr_arena_allocator(mr_arena *_Nonnull arena);

#ifdef __cplusplus
}
#endif
