// A trainer's speculative rows: what the tables will hold once the trainer's records in flight are applied, and the
// gradient sums of the batch in hand.
//
// Each example steps the rows that it touches, so that the next example, and the next batch, are computed at the weights
// that they will meet; what is shipped is the sums. Each row keeps, oldest first, the sums of every batch in flight that
// touches it. When the table has applied a batch, its rows forget that batch: a row that nothing newer touches is read from
// the table again, any other starts from the table's row and takes the newer sums once more. So speculation never drifts from
// the log, however long a row (the bias, say) stays in flight.
//
// One owner thread, which must also be the writer of the tables that it reads.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mr_table.h"

typedef struct mr_speculation mr_speculation;

/// For `shard_count` shards (at least 1). Null when memory is out. Grows with the rows in flight, never shrinks.
mr_speculation *mr_speculation_create(uint32_t shard_count, uint64_t rows_expected);
void mr_speculation_destroy(mr_speculation *speculation);
/// Forgets everything, the batch in hand included: predictions come from the tables alone.
void mr_speculation_clear(mr_speculation *speculation);
/// Rows with something in flight, and (row, batch) pairs in flight.
uint64_t mr_speculation_rows(const mr_speculation *speculation);
uint64_t mr_speculation_pending(const mr_speculation *speculation);

/// Starts batch `sequence`; sequence numbers only go up.
void mr_speculation_begin(mr_speculation *speculation, int64_t sequence);

/// The margin of one example, from speculative rows first and `tables[shard]` second. NaN when memory is out.
float mr_speculation_predict(mr_speculation *speculation, const mr_table *const *tables, const uint64_t *ids,
                             const float *values, size_t count);
/// Learns the example that was just predicted (same ids and values), whose loss has derivative `gradient` by the margin
/// (weight included): each row's sums grow by its own gradient, clipped to +-bound, and the row takes an FTRL step with it.
/// `shards`: null, or one byte for each shard: 0 leaves that shard's rows alone. A gradient that is not finite teaches nothing.
/// False when memory is out (the example is then partly learned: clear and start again).
bool mr_speculation_learn(mr_speculation *speculation, const mr_ftrl *ftrl, const uint64_t *ids, const float *values,
                          size_t count, float gradient, float bound, const uint8_t *shards);
/// For the count family: sums grow by the values, which are small integers; no row is read.
bool mr_speculation_count(mr_speculation *speculation, const uint64_t *ids, const float *values, size_t count,
                          const uint8_t *shards);

/// Rows of the batch in hand that belong to `shard`.
size_t mr_speculation_batch_rows(const mr_speculation *speculation, uint32_t shard);
/// Writes them, ids strictly ascending, each sum clamped to +-g_bound and 0...g2_bound. Room for mr_speculation_batch_rows in each
/// array. Returns how many.
size_t mr_speculation_batch_sums(mr_speculation *speculation, uint32_t shard, float g_bound, float g2_bound, uint64_t *ids,
                                 float *g, float *g2);

/// The table now holds the batches up to `sequence` in these rows (those of one applied record: 64-bit ids, of any alignment).
/// `ftrl` null: count family.
void mr_speculation_applied(mr_speculation *speculation, const mr_table *table, const mr_ftrl *ftrl, const void *ids,
                            size_t count, int64_t sequence);
