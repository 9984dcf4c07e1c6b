// Hot: no allocation. From ids to the numbers of rows.
#include "embedding_internal.h"

static inline __attribute__((always_inline)) uint32_t row_of(uint64_t id, uint32_t row_count) {
  return (uint32_t)(((mr_mix64(id) >> 32) * row_count) >> 32);
}

uint32_t mr_embedding_row_of(uint64_t id, uint32_t row_count) { return row_of(id, row_count); }

void mr_rows_of_scalar(const uint64_t *ids, size_t count, uint32_t row_count, uint32_t first, uint32_t *rows) {
  for (size_t i = 0; i < count; i++) rows[i] = first + row_of(ids[i], row_count);
}

void mr_embedding_rows_of(const uint64_t *ids, size_t count, uint32_t row_count, uint32_t first, uint32_t *rows) {
#if defined(__x86_64__)
  if (mr_isa() == MR_ISA_AVX512) {
    mr_rows_of_avx512(ids, count, row_count, first, rows);
    return;
  }
#endif
  mr_rows_of_scalar(ids, count, row_count, first, rows);
}

size_t mr_embedding_first_outside(const uint32_t *rows, size_t count, uint64_t row_count) {
  if (row_count > UINT32_MAX) return count;
  uint32_t limit = (uint32_t)row_count;
  size_t start = 0;
  while (start < count) {
    // Blocks without a branch for each, which compilers turn into vectors.
    size_t end = count - start > 4096 ? start + 4096 : count;
    uint32_t outside = 0;
    for (size_t i = start; i < end; i++) outside |= rows[i] >= limit;
    if (outside)
      for (size_t i = start; i < end; i++)
        if (rows[i] >= limit) return i;
    start = end;
  }
  return count;
}

size_t mr_embedding_route(const mr_embedding_field *fields, uint32_t field_count, uint32_t slots_per_row, const uint64_t *ids, const float *values,
                          const uint16_t *entry_fields, int32_t start, const int32_t *row_ends, int32_t batch_rows, uint32_t shard,
                          uint32_t shard_count, bool mean, uint32_t *rows, float *weights, uint32_t *slots, uint32_t *counts) {
  size_t kept = 0;
  int32_t e = start;
  for (int32_t r = 0; r < batch_rows; r++) {
    const int32_t end = row_ends[r];
    const uint32_t slot_base = (uint32_t)r * slots_per_row;
    if (mean) {
      for (uint32_t s = 0; s < slots_per_row; s++) counts[s] = 0;
      for (int32_t i = e; i < end; i++)
        if (entry_fields[i] < field_count && fields[entry_fields[i]].table_rows) counts[fields[entry_fields[i]].slot]++;
    }
    for (; e < end; e++) {
      const uint32_t f = entry_fields[e];
      if (f >= field_count) continue;
      const mr_embedding_field field = fields[f];
      if (field.table_rows == 0) continue;
      const uint32_t row = field.first_row + row_of(ids[e], field.table_rows);
      if (shard_count > 1 && mr_shard_of(row, shard_count) != shard) continue;
      rows[kept] = row;
      weights[kept] = mean ? values[e] / (float)counts[field.slot] : values[e];
      slots[kept] = slot_base + field.slot;
      kept++;
    }
  }
  return kept;
}

void mr_embedding_route_dense(const mr_embedding_field *fields, uint32_t field_count, const float *values, const uint16_t *entry_fields, int32_t start,
                              const int32_t *row_ends, int32_t batch_rows, float *dense, size_t dense_stride) {
  int32_t e = start;
  for (int32_t r = 0; r < batch_rows; r++) {
    uint32_t last = UINT32_MAX, place = 0;
    for (; e < row_ends[r]; e++) {
      const uint32_t f = entry_fields[e];
      place = f == last ? place + 1 : 0;
      last = f;
      if (f >= field_count || fields[f].table_rows || place >= fields[f].columns) continue;
      dense[(size_t)r * dense_stride + fields[f].column + place] = values[e];
    }
  }
}

size_t mr_embedding_route_shared(uint32_t table_rows, uint64_t skipped, const uint64_t *ids, const float *values, const int32_t *row_ends,
                                 int32_t batch_rows, uint32_t shard, uint32_t shard_count, uint32_t *rows, float *weights, int32_t *ends) {
  const size_t entries = batch_rows > 0 ? (size_t)row_ends[batch_rows - 1] : 0;
  // All at once, in vectors; what is not kept is written over.
  mr_embedding_rows_of(ids, entries, table_rows, 0, rows);
  size_t kept = 0;
  int32_t e = 0;
  for (int32_t r = 0; r < batch_rows; r++) {
    if (shard_count > 1) {
      for (; e < row_ends[r]; e++) {
        const uint32_t row = rows[e];
        rows[kept] = row;
        weights[kept] = values[e];
        kept += (ids[e] != skipped) & (mr_shard_of(row, shard_count) == shard);
      }
    } else {
      for (; e < row_ends[r]; e++) {
        rows[kept] = rows[e];
        weights[kept] = values[e];
        kept += ids[e] != skipped;
      }
    }
    ends[r] = (int32_t)kept;
  }
  return kept;
}
