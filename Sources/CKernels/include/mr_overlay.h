// A trainer's speculative rows: what the tables will hold once its records in flight are applied, and the gradient sums
// of the batch in hand. One owner thread, which must also be the writer of the tables it reads.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mr_table.h"

typedef struct mr_overlay mr_overlay;

mr_overlay *mr_overlay_create(uint64_t rows_expected);
void mr_overlay_destroy(mr_overlay *overlay);
/// Forgets everything in flight: predictions come from the tables alone.
void mr_overlay_clear(mr_overlay *overlay);
uint64_t mr_overlay_rows(const mr_overlay *overlay);

/// Starts a batch. `sequence` goes up with each batch (it may wrap).
void mr_overlay_begin(mr_overlay *overlay, uint32_t sequence);
/// The tables now hold all batches up to `sequence`: rows that no later batch changed are read from them again.
void mr_overlay_applied(mr_overlay *overlay, uint32_t sequence);

/// The margin of one example from speculative rows first and tables second.
float mr_overlay_predict(mr_overlay *overlay, const mr_table *const *tables, uint32_t shard_count, const uint64_t *ids,
                         const float *values, size_t count);
/// Learns one example whose loss has derivative `gradient` by the margin (weight included): each row takes an FTRL step with
/// its own gradient clipped to +-bound, and the batch's sums grow. `shards`: null, or one byte for each shard: 0 leaves
/// that shard's rows alone. False when memory is out (the example is then partly learned: clear and start again).
bool mr_overlay_learn(mr_overlay *overlay, const mr_table *const *tables, uint32_t shard_count, const mr_ftrl *ftrl,
                      const uint64_t *ids, const float *values, size_t count, float gradient, float bound,
                      const uint8_t *shards);
/// For the count family: sums grow by the values, which are small integers.
bool mr_overlay_count(mr_overlay *overlay, uint32_t shard_count, const uint64_t *ids, const float *values, size_t count,
                      const uint8_t *shards);

/// Rows of the batch in hand that belong to `shard`.
size_t mr_overlay_batch_rows(const mr_overlay *overlay, uint32_t shard, uint32_t shard_count);
/// Writes them, ids ascending, each sum clamped to +-g_bound and 0...g2_bound. Room for mr_overlay_batch_rows in each array.
/// Returns how many; 0 also when memory is out.
size_t mr_overlay_batch_sums(mr_overlay *overlay, uint32_t shard, uint32_t shard_count, float g_bound, float g2_bound,
                             uint64_t *ids, float *g, float *g2);
