// Scoring: sums of weights times values over the shards of a model, without locks.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mr_reader.h"
#include "mr_table.h"

/// What the writer of a shard publishes for readers: each a word, read and written whole.
typedef struct mr_published mr_published;

/// next offset 0, labels through INT64_MIN, epoch 0, state hash 0. Null when memory is out.
mr_published *mr_published_create(void);
void mr_published_destroy(mr_published *published);

/// Writer, before any row changes: what a reader may see from now on.
void mr_published_set_labels_through(mr_published *published, int64_t milliseconds);
void mr_published_set_epoch(mr_published *published, uint64_t epoch);
/// Writer, after the rows changed: what every reader sees from now on.
void mr_published_set_applied(mr_published *published, int64_t next_offset, uint64_t state_hash);

/// Writer: when the last record or beacon of the shard's log was applied, by the monotonic clock. 0: none yet.
void mr_published_set_news(mr_published *published, int64_t nanoseconds);

int64_t mr_published_next_offset(const mr_published *published);
int64_t mr_published_labels_through(const mr_published *published);
uint64_t mr_published_epoch(const mr_published *published);
uint64_t mr_published_state_hash(const mr_published *published);
int64_t mr_published_news(const mr_published *published);

enum { MR_SHARDS_MAX = 1024 };

/// For each row r of the batch (entries row_ends[r-1] ..< row_ends[r] of `ids` and `values`), adds to sums[r] the sum of
/// w(id) * value over the entries that `shard` of `shard_count` owns. The reader must be inside.
void mr_partial(const mr_table *table, uint32_t shard, uint32_t shard_count, const uint64_t *ids, const float *values,
                const int32_t *row_ends, int32_t rows, float *sums);

/// All shards in one pass: sums[r] = 0 + partial of shard 0 + partial of shard 1 + ..., bit for bit what mr_partial in
/// shard order gives. `positions[s]`: next offset of each shard, read before the first row (a lower bound of what the rows
/// contain). `labels_through`: the greatest of all shards, read after the last row (an upper bound). Enters and leaves.
/// False: the epochs of the shards were not equal, or changed on the way, at each of a few tries; sums are then of no use.
bool mr_score(mr_reader *reader, const mr_table *const *tables, const mr_published *const *published, uint32_t shard_count,
              const uint64_t *ids, const float *values, const int32_t *row_ends, int32_t rows, float *sums,
              int64_t *positions, int64_t *labels_through, uint64_t *epoch);

/// Turns margins into predictions in place.
void mr_finish(int loss, float *scores, int32_t rows);
