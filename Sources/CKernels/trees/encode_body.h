// Hot: no allocation. Rows to codes (see `code_scale`), for one instruction set: included by encode_*.c, which define
//   TARGET, the functions' attribute; ENCODER, the table's name;
//   count_floats(t, x), count_doubles(t, x): how many of 16 aligned thresholds are below x.
#include <math.h>

#include "forest_internal.h"

#define INLINE TARGET static inline __attribute__((always_inline))

INLINE double value_at(const char *row, int elements, int32_t feature) {
  if (elements == MR_TREE_ROWS_FLOAT) {
    float x;
    memcpy(&x, row + (size_t)feature * sizeof x, sizeof x);
    return (double)x;
  }
  double x;
  memcpy(&x, row + (size_t)feature * sizeof x, sizeof x);
  return x;
}

/// Block by block, down the levels: the same steps whatever the value is.
INLINE uint32_t rank_in(const forest_code *code, const code_scale *scale, const char *row, int elements, int levels) {
  uint32_t rank = 0;
  bool is_known;
  if (elements == MR_TREE_ROWS_FLOAT) {
    float x;
    memcpy(&x, row + (size_t)scale->feature * sizeof x, sizeof x);
    for (int l = 0; l < levels; l++) rank = rank * 16 + count_floats(code->narrow + scale->level[l] + rank * 16, x);
    is_known = fabs((double)x) > scale->missing_most;
  } else {
    double x;
    memcpy(&x, row + (size_t)scale->feature * sizeof x, sizeof x);
    for (int l = 0; l < levels; l++) rank = rank * 16 + count_doubles(code->wide + scale->level[l] + rank * 16, x);
    is_known = fabs(x) > scale->missing_most;
  }
  return __builtin_unpredictable(is_known) ? rank : scale->missing_rank;
}

/// 0: left, 1: right.
INLINE bool goes_right(const forest_code *code, const code_predicate *p, const char *row, int elements) {
  double x = value_at(row, elements, p->feature);
  if (p->missing == MR_TREE_MISSING_NAN && x != x) return !p->missing_left;
  if (p->missing == MR_TREE_MISSING_ZERO && !(fabs(x) > (double)MR_TREE_ZERO_MAX)) return !p->missing_left;
  if (x != x) x = 0;
  switch (p->kind) {
    case PREDICATE_EQUAL: return x != p->value;
    case PREDICATE_MEMBER: {
      // Truncation takes what is above -1 to 0.
      if (!(x > -1.0 && x < 32.0 * p->category_words)) return true;
      const uint32_t category = x > 0 ? (uint32_t)x : 0;
      return !(code->category_bits[p->category_start + (category >> 5)] >> (category & 31) & 1);
    }
    default: return true;
  }
}

/// Codes of a group's predicates for one row.
INLINE const uint8_t *group_codes(const forest_code *code, const code_group *group, const char *row, int elements) {
  double x = value_at(row, elements, group->feature);
  int64_t at = group->categories;
  if (group->missing == MR_TREE_MISSING_NAN ? x != x : group->missing == MR_TREE_MISSING_ZERO && !(fabs(x) > (double)MR_TREE_ZERO_MAX)) {
    at++;
  } else {
    if (x != x) x = 0;
    // Truncation takes what is above -1 to 0.
    if (x > -1.0 && x < (double)group->categories) at = x > 0 ? (int64_t)x : 0;
  }
  return code->group_tables + group->table + at * group->stride;
}

/// Eight rows of eight bytes, turned.
INLINE void turn_bytes(uint64_t b[8]) {
#define SWAP(i, j, shift, mask)                                  \
  {                                                              \
    const uint64_t t = ((b[i] >> shift) ^ b[j]) & UINT64_C(mask); \
    b[i] ^= t << shift;                                          \
    b[j] ^= t;                                                   \
  }
  SWAP(0, 4, 32, 0x00000000FFFFFFFF) SWAP(1, 5, 32, 0x00000000FFFFFFFF) SWAP(2, 6, 32, 0x00000000FFFFFFFF) SWAP(3, 7, 32, 0x00000000FFFFFFFF)
  SWAP(0, 2, 16, 0x0000FFFF0000FFFF) SWAP(1, 3, 16, 0x0000FFFF0000FFFF) SWAP(4, 6, 16, 0x0000FFFF0000FFFF) SWAP(5, 7, 16, 0x0000FFFF0000FFFF)
  SWAP(0, 1, 8, 0x00FF00FF00FF00FF) SWAP(2, 3, 8, 0x00FF00FF00FF00FF) SWAP(4, 5, 8, 0x00FF00FF00FF00FF) SWAP(6, 7, 8, 0x00FF00FF00FF00FF)
#undef SWAP
}

/// Codes of a group's predicates for all rows, each predicate's in its column.
INLINE void encode_group(const forest_code *code, const code_group *group, const char *rows, size_t stride, int elements, int64_t count,
                         uint8_t bias, uint8_t *columns) {
  for (int64_t begin = 0; begin < count; begin += 8) {
    const uint8_t *codes[8];
    for (int i = 0; i < 8; i++) codes[i] = group_codes(code, group, rows + (size_t)(begin + (begin + i < count ? i : 0)) * stride, elements);
    for (int32_t p = 0; p < group->count; p += 8) {
      uint64_t b[8];
      for (int i = 0; i < 8; i++) memcpy(&b[i], codes[i] + p, 8);
      turn_bytes(b);
      const int32_t left = group->count - p;
      for (int i = 0; i < 8 && i < left; i++) {
        b[i] ^= bias * UINT64_C(0x0101010101010101);
        memcpy(columns + (size_t)(p + i) * CHUNK_ROWS + begin, &b[i], 8);
      }
    }
  }
}

INLINE uint32_t clamped(uint32_t rank, uint32_t below, uint32_t most) { return rank <= below ? 0 : rank - below < most ? rank - below : most; }

INLINE void encode_column(const forest_code *code, const code_scale *scale, const char *rows, size_t stride, int elements, int64_t count,
                          uint8_t bias, uint8_t *column, int levels) {
  if (scale->count <= BYTE_RANKS) {
    for (int64_t r = 0; r < count; r++) column[r] = (uint8_t)(rank_in(code, scale, rows + (size_t)r * stride, elements, levels) ^ bias);
    return;
  }
  for (int64_t r = 0; r < count; r++) {
    const uint32_t rank = rank_in(code, scale, rows + (size_t)r * stride, elements, levels);
    uint8_t *to = column + r;
    for (uint32_t below = 0; below < (uint32_t)scale->count; below += BYTE_RANKS, to += CHUNK_ROWS)
      *to = (uint8_t)(clamped(rank, below, BYTE_RANKS) ^ bias);
  }
}

INLINE void encode_slices_of(const mr_forest *forest, const char *rows, size_t stride, int elements, int64_t count, uint8_t bias, uint8_t *slices) {
  const forest_code *code = &forest->code;
  for (int32_t s = 0; s < code->scale_count; s++) {
    const code_scale *scale = &code->scales[s];
    uint8_t *column = slices + (size_t)scale->byte_column * CHUNK_ROWS;
    if (scale->levels == 1)
      encode_column(code, scale, rows, stride, elements, count, bias, column, 1);
    else if (scale->levels == 2)
      encode_column(code, scale, rows, stride, elements, count, bias, column, 2);
    else
      encode_column(code, scale, rows, stride, elements, count, bias, column, scale->levels);
  }
  uint8_t *column = slices + (size_t)(code->byte_columns - code->predicate_count) * CHUNK_ROWS;
  for (int32_t g = 0; g < code->group_count; g++)
    encode_group(code, &code->groups[g], rows, stride, elements, count, bias, column + (size_t)code->groups[g].first * CHUNK_ROWS);
  column += (size_t)code->grouped_count * CHUNK_ROWS;
  for (int32_t p = code->grouped_count; p < code->predicate_count; p++, column += CHUNK_ROWS)
    for (int64_t r = 0; r < count; r++)
      column[r] = (uint8_t)(goes_right(code, &code->predicates[p], rows + (size_t)r * stride, elements) ^ bias);
}

#define DEFINE_ENCODE(name, type, first_column, columns, most)                                                               \
  INLINE void name##_of(const mr_forest *forest, const char *row, int elements, type *codes) {                               \
    const forest_code *code = &forest->code;                                                                                 \
    for (int32_t s = 0; s < code->scale_count; s++) {                                                                        \
      const code_scale *scale = &code->scales[s];                                                                            \
      const uint32_t rank = rank_in(code, scale, row, elements, scale->levels);                                              \
      type *to = codes + scale->first_column;                                                                                \
      *to = (type)(rank < most ? rank : most);                                                                               \
      for (uint32_t below = most; below < (uint32_t)scale->count; below += most) *++to = (type)clamped(rank, below, most);   \
    }                                                                                                                        \
    type *to = codes + (code->columns - code->predicate_count);                                                              \
    for (int32_t g = 0; g < code->group_count; g++) {                                                                        \
      const code_group *group = &code->groups[g];                                                                            \
      const uint8_t *from = group_codes(code, group, row, elements);                                                         \
      for (int32_t p = 0; p < group->count; p++) to[group->first + p] = from[p];                                             \
    }                                                                                                                        \
    for (int32_t p = code->grouped_count; p < code->predicate_count; p++)                                                    \
      to[p] = (type)goes_right(code, &code->predicates[p], row, elements);                                                   \
  }                                                                                                                          \
  TARGET static void name(const mr_forest *forest, const char *row, int elements, type *codes) {                             \
    if (elements == MR_TREE_ROWS_FLOAT)                                                                                      \
      name##_of(forest, row, MR_TREE_ROWS_FLOAT, codes);                                                                     \
    else                                                                                                                     \
      name##_of(forest, row, MR_TREE_ROWS_DOUBLE, codes);                                                                    \
  }
DEFINE_ENCODE(encode_bytes, uint8_t, byte_column, byte_columns, BYTE_RANKS)
DEFINE_ENCODE(encode_words, uint16_t, word_column, word_columns, WORD_RANKS)

TARGET static void encode_slices(const mr_forest *forest, const char *rows, size_t stride, int elements, int64_t count, uint8_t bias,
                                 uint8_t *slices) {
  if (elements == MR_TREE_ROWS_FLOAT)
    encode_slices_of(forest, rows, stride, MR_TREE_ROWS_FLOAT, count, bias, slices);
  else
    encode_slices_of(forest, rows, stride, MR_TREE_ROWS_DOUBLE, count, bias, slices);
}

const encoder ENCODER = {encode_slices, encode_bytes, encode_words};
