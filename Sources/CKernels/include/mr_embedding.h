// Embedding rows: how they lie in memory, which row an id has, and bags of them (sums and means of several rows). Read-only tables that
// came from a file; the row tables that learn are in mr_table.h.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// What the values of a row are. The numbers stand in bundles.
enum {
  MR_ROWS_FLOAT32 = 1,
  /// The upper half of a float32, rounded to nearest even.
  MR_ROWS_BFLOAT16 = 2,
  /// value = scale * q + offset, q in 0...255; scale and offset (float32) stand before the values of each row, as in FBGEMM's row-wise form.
  MR_ROWS_INT8 = 3
};

enum { MR_EMBEDDING_WIDTH_MAX = 4096, MR_EMBEDDING_HEAD_MAX = 256 };

/// Rows of one kind, end to end. A row: for int8 `scale`, `offset`; then `head` floats that are kept in full precision whatever the element
/// is; then `width` values. All little-endian. `row_bytes` is what mr_embedding_row_bytes says.
typedef struct mr_embedding {
  const void *rows;
  uint64_t row_count;
  int32_t element;
  uint32_t width;
  uint32_t head;
  uint32_t row_bytes;
} mr_embedding;

/// Bytes from one row to the next: a multiple of 8, such that no row touches more 64-byte lines than it must when the first begins at one
/// (a row of 32 int8 values lies in one line). 0: an unknown element, no values, or more than the bounds above.
uint32_t mr_embedding_row_bytes(int element, uint32_t head, uint32_t width);
/// Bytes from the beginning of a row to its head and to its values.
uint32_t mr_embedding_head_at(int element);
uint32_t mr_embedding_values_at(int element, uint32_t head);

/// Writes one row. Int8: scale and offset span the row's least and greatest value, which lie less than the greatest float apart. Padding is zero. `head` may be null when there is none.
void mr_embedding_encode(const mr_embedding *table, const float *head, const float *values, void *row);
/// Reads one row (below `row_count`: the caller has checked) back into floats. `head` or `values` may be null.
void mr_embedding_decode(const mr_embedding *table, uint64_t row, float *head, float *values);
/// The scale that encoding these values as int8 gives (0 when all are equal).
float mr_embedding_scale(const float *values, uint32_t width);

/// The row of an id among `row_count` (at most 2^32 - 1) rows: the upper half of mix(id), times row_count, divided by 2^32. Never changes:
/// people train with the same rows elsewhere. `row_count` 0 gives 0.
uint32_t mr_embedding_row_of(uint64_t id, uint32_t row_count);
/// rows[i] = first + row of ids[i].
void mr_embedding_rows_of(const uint64_t *ids, size_t count, uint32_t row_count, uint32_t first, uint32_t *rows);
/// The index of the first row that is not below `row_count`; `count` when all are.
size_t mr_embedding_first_outside(const uint32_t *rows, size_t count, uint64_t row_count);

enum { MR_BAG_SUM = 0, MR_BAG_MEAN = 1 };

/// For each bag b (entries ends[b - 1] ..< ends[b]): out[b * out_stride ..< + width] = the sum of weights[e] * values of row rows[e]
/// (`weights` null: each 1), for MR_BAG_MEAN divided by the number of entries. An empty bag gives zeros. Rows are added in order; the
/// vector forms may contract multiply and add. No row may be outside: see mr_embedding_first_outside.
void mr_embedding_bag(const mr_embedding *table, const uint32_t *rows, const float *weights, const int32_t *ends, int32_t bags, int mode,
                      float *out, size_t out_stride);
/// out[slots[e] * slot_stride ..< + width] += weights[e] * values of row rows[e], entry by entry: bags in any order, over several tables of
/// one kind that lie end to end. `weights` null: each 1.
void mr_embedding_add(const mr_embedding *table, const uint32_t *rows, const float *weights, const uint32_t *slots, size_t count, float *out,
                      size_t slot_stride);

/// Where the entries of one field go: to a table, when `table_rows` is above 0; otherwise to columns of the dense part, when `columns` is.
typedef struct mr_embedding_field {
  /// The number of the table's first row, and how many it has.
  uint32_t first_row;
  uint32_t table_rows;
  /// The table's slot among those of one row of the batch.
  uint32_t slot;
  /// A value's column; several values of the field (a vector's) take this one and those behind it, at most `columns`.
  uint32_t column;
  uint32_t columns;
} mr_embedding_field;

/// Makes rows, weights and slots (row of the batch * slots_per_row + the field's slot) of the entries of tables: batch row r is the entries
/// row_ends[r - 1] ..< row_ends[r], the first from `start` on. An entry of a field not below `field_count` is dropped, and one whose row
/// `shard` of `shard_count` does not own. `mean`: weights are divided by the number of entries of their slot, all shards' together. Room for
/// all entries at `rows`, `weights` and `slots`, and for slots_per_row counts at `counts`. Returns how many there are.
size_t mr_embedding_route(const mr_embedding_field *fields, uint32_t field_count, uint32_t slots_per_row, const uint64_t *ids, const float *values,
                          const uint16_t *entry_fields, int32_t start, const int32_t *row_ends, int32_t batch_rows, uint32_t shard,
                          uint32_t shard_count, bool mean, uint32_t *rows, float *weights, uint32_t *slots, uint32_t *counts);
/// Writes the entries of columns to dense[r * dense_stride + column]. What no entry gives stays as it is.
void mr_embedding_route_dense(const mr_embedding_field *fields, uint32_t field_count, const float *values, const uint16_t *entry_fields, int32_t start,
                              const int32_t *row_ends, int32_t batch_rows, float *dense, size_t dense_stride);
/// For one table of all entries but those of id `skipped`: rows, weights, and the end of each batch row among them in `ends`.
size_t mr_embedding_route_shared(uint32_t table_rows, uint64_t skipped, const uint64_t *ids, const float *values, const int32_t *row_ends,
                                 int32_t batch_rows, uint32_t shard, uint32_t shard_count, uint32_t *rows, float *weights, int32_t *ends);
