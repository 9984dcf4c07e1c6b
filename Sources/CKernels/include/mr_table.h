// The row table of one shard: 64-bit ids to optimizer rows. One writer thread, any number of readers without locks.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// A copy of a row. `z`, `n`: FTRL-Proximal state; `w`: the weight they give; `touched`: label event time of the
/// last change in hours since 1970 (0: none); `count`: the sum of the count family.
typedef struct mr_row {
  uint64_t id;
  float z, n, w;
  uint32_t touched;
  int64_t count;
} mr_row;

typedef struct mr_table mr_table;

/// FTRL-Proximal (McMahan et al., "Ad Click Prediction: a View from the Trenches", KDD 2013, algorithm 1).
/// `alpha` > 0, `beta` > 0, `l1`, `l2` >= 0, all finite: the caller has checked.
typedef struct mr_ftrl {
  float alpha, beta, l1, l2;
} mr_ftrl;

/// What an apply did. `refused`: values that were not finite, negative where they cannot be, or beyond the bound: they
/// counted as zero. `out_of_memory`: the table could not grow; the state is no longer what the log says.
typedef struct mr_apply_result {
  uint64_t refused;
  uint64_t inserted;
  bool out_of_memory;
} mr_apply_result;

/// A table with room for `rows_expected` rows before it grows. Null when memory is out.
mr_table *mr_table_create(uint64_t rows_expected);
/// Keeps a serving form beside the rows from now on: for each row one word with 48 bits of its id and its weight in bfloat16,
/// written whenever the row is, read by mr_score and mr_partial instead of the rows. A quarter more memory, and a quarter of
/// the memory that scoring touches. Never part of the state: hashes, captures and mr_table_get do not see it. Writer
/// thread; readers may be inside. False when memory is out: nothing has changed.
bool mr_table_serve(mr_table *table);
/// Any thread.
bool mr_table_serving(const mr_table *table);
/// No reader may be inside and none may come.
void mr_table_destroy(mr_table *table);

/// Any thread: rows in the table as of some moment.
uint64_t mr_table_rows(const mr_table *table);
/// Any thread: slots of the newest array; bytes mapped for all arrays.
uint64_t mr_table_capacity(const mr_table *table);
uint64_t mr_table_bytes(const mr_table *table);

// Writer thread only, from here on.

/// Copies row `id` to `out`; false (and a row of zeros) when there is none.
bool mr_table_get(const mr_table *table, uint64_t id, mr_row *out);
/// Sets a whole row, `w` included (restores and tests). False when memory is out.
bool mr_table_put(mr_table *table, const mr_row *row);

/// Applies gradient sums to rows (ids strictly ascending): sigma = (sqrt(n + g2) - sqrt(n)) / alpha; z += g - sigma w;
/// n += g2; w from z and n. Values that are not finite or beyond the bounds count as zero. Bit for bit the same on
/// every machine and for every instruction set.
mr_apply_result mr_table_apply_ftrl(mr_table *table, const mr_ftrl *ftrl, const uint64_t *ids, const float *g,
                                    const float *g2, size_t count, float g_bound, float g2_bound, uint32_t touched);
/// Adds integers to rows (ids strictly ascending). The sum wraps at 64 bits.
mr_apply_result mr_table_apply_count(mr_table *table, const uint64_t *ids, const int64_t *counts, size_t count,
                                     uint32_t touched);

/// The rolling state hash: the sum over rows, modulo 2^64, of a hash of (id, z, n, touched, count).
uint64_t mr_table_state_hash(const mr_table *table);
/// The same, computed from all rows: equal to the rolling one whenever the code is right.
uint64_t mr_table_recompute_state_hash(const mr_table *table);
/// The index of the first id that is not greater than the one before it, of `count` ids (little-endian, of any alignment);
/// `count` when they ascend strictly.
size_t mr_ids_ascending(const void *ids, size_t count);

/// What one row adds to the state hash.
uint64_t mr_row_hash(const mr_row *row);

/// Moves up to `slots_max` slots to the new array, if the table is growing, and frees what readers have left.
void mr_table_work(mr_table *table, uint64_t slots_max);
/// Whether rows still stand in two arrays.
bool mr_table_growing(const mr_table *table);

/// Gives each table the other's rows; captures of both end. Readers may be inside `a`, and still see its old rows: `b`, which has them now, is
/// destroyed only when mr_reader_quiescent(the epoch returned). Nobody reads `b`.
uint64_t mr_table_exchange(mr_table *a, mr_table *b);

/// Copies rows in an order of no meaning. Start with `*cursor` 0; returns 0 at the end. The table must not change in between.
size_t mr_table_scan(const mr_table *table, uint64_t *cursor, mr_row *out, size_t rows_max);

/// Begins a capture of the table as it stands now. Rows that change before they were handed out are kept aside first, so
/// that the capture is exact while the table goes on learning and growing. False when one is on or memory is out.
bool mr_table_capture_begin(mr_table *table);
/// Hands out up to `rows_max` rows after looking at up to `slots_max` slots. `*done`: that was all; `*failed`: memory ran
/// out on the way, the capture is not whole. After either, call mr_table_capture_end.
size_t mr_table_capture_slice(mr_table *table, mr_row *out, size_t rows_max, uint64_t slots_max, bool *done, bool *failed);
void mr_table_capture_end(mr_table *table);

/// Takes one step of strictly sequential learning on one example: predicts, then updates each row with its own gradient.
/// `loss`: as in mr_loss.h. Returns the margin before the update. Does not keep
/// the state hash: for benchmarks and scratch tables. NaN when memory is out.
float mr_table_learn(mr_table *table, const mr_ftrl *ftrl, int loss, const uint64_t *ids, const float *values, size_t count,
                     float label, float weight);
/// Brings the rows of a coming example nearer. Any ids are fine.
void mr_table_prefetch(const mr_table *table, const uint64_t *ids, size_t count);

/// The FTRL weight of a row.
float mr_ftrl_weight(const mr_ftrl *ftrl, float z, float n);

/// One FTRL step of one row from gradient sums: bit for bit what applying a record does to it. False, and nothing changed, when
/// the result would not be finite.
bool mr_ftrl_step(const mr_ftrl *ftrl, mr_row *row, float gradient_sum, float square_sum);

/// Sets round-to-nearest, no flush to zero, no denormals-are-zero on this thread; tells whether it was so before.
bool mr_float_environment_set(void);
