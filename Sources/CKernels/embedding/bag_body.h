// Hot: no allocation. Bags of rows in any vectors. The includer has read its rows_*.h, and defines BAG and ADD, the functions' names.
#define UNROLL _Pragma("clang loop unroll(full)")
// Columns of one pass over a bag: eight vectors.
#define COLUMNS (8 * LANES)

typedef struct bags {
  const mr_embedding *t;
  const uint32_t *rows;
  const float *weights;
  int32_t entries, ahead;
  uint32_t used;
} bags;

/// Columns `column` ..< `column` + LANES * vectors (the first `tail` of the last vector unless `full`) of the bag of entries from ..< to, into
/// `out`. `only`: they are the whole row. `element`, `vectors`, `full`, `only` and `weighted` are constants where this is inlined.
INLINE void block(const bags *b, int32_t from, int32_t to, int mode, float *out, const int element, const int vectors, const bool full,
                  const bool only, const bool weighted, uint32_t column, uint32_t tail) {
  const mr_embedding *t = b->t;
  const uint32_t each = mr_element_bytes(element), at = mr_values_at(element, t->head) + column * each, stride = t->row_bytes;
  const uint8_t *base = t->rows;
  const uint32_t *rows = b->rows;
  const int32_t fetch_end = column == 0 ? b->entries - b->ahead : 0, ahead = b->ahead;
  // With one block of known width the lines to fetch are known too.
  const uint32_t used = only ? at + LANES * each * (uint32_t)vectors : b->used;
  vf sums[8];
  float offsets = 0;
  UNROLL for (int v = 0; v < vectors; v++) sums[v] = vf_set(0);
  for (int32_t e = from; e < to; e++) {
    if (e < fetch_end) mr_prefetch_lines(base + (uint64_t)rows[e + ahead] * stride, used);
    const uint8_t *row = base + (uint64_t)rows[e] * stride;
    vf factor = vf_set(0);
    if (element == MR_ROWS_INT8) {
      float scale = mr_load_float(row), offset = mr_load_float(row + 4);
      if (weighted) scale *= b->weights[e], offset *= b->weights[e];
      factor = vf_set(scale);
      offsets += offset;
    } else if (weighted) {
      factor = vf_set(b->weights[e]);
    }
    UNROLL for (int v = 0; v < vectors; v++) {
      const uint8_t *p = row + at + (uint32_t)v * LANES * each;
      const vf x = full || v < vectors - 1 ? row_load(element, p) : row_load_some(element, p, tail);
      sums[v] = element == MR_ROWS_INT8 || weighted ? vf_fma(x, factor, sums[v]) : vf_add(sums[v], x);
    }
  }
  const bool divide = mode == MR_BAG_MEAN && to - from > 1;
  const vf divisor = vf_set((float)(to - from)), shift = vf_set(offsets);
  UNROLL for (int v = 0; v < vectors; v++) {
    vf x = sums[v];
    if (element == MR_ROWS_INT8) x = vf_add(x, shift);
    if (divide) x = vf_div(x, divisor);
    if (full || v < vectors - 1)
      vf_store(out + column + v * LANES, x);
    else
      vf_store_some(out + column + v * LANES, x, tail);
  }
}

#define CASE(number, vectors, full, only) \
  case number: block(b, from, to, mode, out, element, vectors, full, only, weighted, column, tail); break;

/// One bag.
INLINE void bag(const bags *b, int32_t from, int32_t to, int mode, float *out, const int element, const bool weighted) {
  const uint32_t width = b->t->width;
  for (uint32_t column = 0; column < width; column += COLUMNS) {
    const uint32_t wide = width - column < COLUMNS ? width - column : COLUMNS, tail = wide % LANES ? wide % LANES : LANES;
    const bool only = wide == width && tail == LANES;
    switch (only ? 8 + wide / LANES : column + COLUMNS < width ? 0 : (wide + LANES - 1) / LANES) {
      CASE(9, 1, true, true) CASE(10, 2, true, true) CASE(11, 3, true, true) CASE(12, 4, true, true)
      CASE(13, 5, true, true) CASE(14, 6, true, true) CASE(15, 7, true, true) CASE(16, 8, true, true)
      CASE(1, 1, false, false) CASE(2, 2, false, false) CASE(3, 3, false, false) CASE(4, 4, false, false)
      CASE(5, 5, false, false) CASE(6, 6, false, false) CASE(7, 7, false, false) CASE(8, 8, false, false)
      CASE(0, 8, true, false)
    }
  }
}

#define FORM(name, element, weighted)                                                                                       \
  TARGET static void name(const bags *b, const int32_t *ends, int32_t count, int mode, float *out, size_t stride) {         \
    for (int32_t i = 0, from = 0; i < count; from = ends[i], i++)                                                           \
      bag(b, from, ends[i], mode, out + (size_t)i * stride, element, weighted);                                             \
  }

FORM(bags_float32, MR_ROWS_FLOAT32, false)
FORM(bags_float32_weighted, MR_ROWS_FLOAT32, true)
FORM(bags_bfloat16, MR_ROWS_BFLOAT16, false)
FORM(bags_bfloat16_weighted, MR_ROWS_BFLOAT16, true)
FORM(bags_int8, MR_ROWS_INT8, false)
FORM(bags_int8_weighted, MR_ROWS_INT8, true)

void BAG(const mr_embedding *t, const uint32_t *rows, const float *weights, const int32_t *ends, int32_t count, int mode, float *out,
         size_t out_stride) {
  if (count <= 0) return;
  const uint32_t used = mr_values_at(t->element, t->head) + t->width * mr_element_bytes(t->element);
  const bags b = {t, rows, weights, ends[count - 1], mr_rows_ahead(used), used};
  for (int32_t i = 0; i < b.ahead && i < b.entries; i++) mr_prefetch_lines(mr_row_at(t, rows[i]), used);
  switch (t->element * 2 + (weights != NULL)) {
    case MR_ROWS_FLOAT32 * 2: bags_float32(&b, ends, count, mode, out, out_stride); break;
    case MR_ROWS_FLOAT32 * 2 + 1: bags_float32_weighted(&b, ends, count, mode, out, out_stride); break;
    case MR_ROWS_BFLOAT16 * 2: bags_bfloat16(&b, ends, count, mode, out, out_stride); break;
    case MR_ROWS_BFLOAT16 * 2 + 1: bags_bfloat16_weighted(&b, ends, count, mode, out, out_stride); break;
    case MR_ROWS_INT8 * 2: bags_int8(&b, ends, count, mode, out, out_stride); break;
    default: bags_int8_weighted(&b, ends, count, mode, out, out_stride); break;
  }
}

/// `element`, `weighted` and `sixteen` (the row has 16 values) are constants where this is inlined: each form is a function of its own, with the
/// registers to itself.
INLINE void add(const mr_embedding *t, const uint32_t *rows, const float *weights, const uint32_t *slots, size_t count, float *out,
                size_t slot_stride, const int element, const bool weighted, const bool sixteen) {
  const uint32_t each = mr_element_bytes(element), at = mr_values_at(element, t->head), stride = t->row_bytes, width = sixteen ? 16 : t->width;
  const uint32_t used = at + width * each;
  const uint8_t *base = t->rows;
  const size_t ahead = (size_t)mr_rows_ahead(used);
  for (size_t i = 0; i < ahead && i < count; i++) mr_prefetch_lines(base + (uint64_t)rows[i] * stride, used);
  for (size_t e = 0; e < count; e++) {
    if (e + ahead < count) mr_prefetch_lines(base + (uint64_t)rows[e + ahead] * stride, used);
    const uint8_t *row = base + (uint64_t)rows[e] * stride, *from = row + at;
    const float weight = weighted ? weights[e] : 1;
    float *to = out + (size_t)slots[e] * slot_stride;
    vf factor = vf_set(weight), shift = vf_set(0);
    if (element == MR_ROWS_INT8) {
      factor = vf_set(weight * mr_load_float(row));
      shift = vf_set(weight * mr_load_float(row + 4));
    }
    uint32_t c = 0;
    for (; c + LANES <= width; c += LANES) {
      vf x = row_load(element, from + c * each), y = vf_load(to + c);
      if (element == MR_ROWS_INT8) y = vf_add(y, shift);
      vf_store(to + c, vf_fma(x, factor, y));
    }
    if (!sixteen && c < width) {
      __builtin_assume(width - c < LANES);
      vf x = row_load_some(element, from + c * each, width - c), y = vf_load_some(to + c, width - c);
      if (element == MR_ROWS_INT8) y = vf_add(y, shift);
      vf_store_some(to + c, vf_fma(x, factor, y), width - c);
    }
  }
}

#define ADD_FORM(name, element, weighted, sixteen)                                                                          \
  TARGET __attribute__((noinline)) static void name(const mr_embedding *t, const uint32_t *rows, const float *weights,     \
                                                    const uint32_t *slots, size_t count, float *out, size_t stride) {      \
    add(t, rows, weights, slots, count, out, stride, element, weighted, sixteen);                                           \
  }

ADD_FORM(add_float32, MR_ROWS_FLOAT32, false, false)
ADD_FORM(add_float32_sixteen, MR_ROWS_FLOAT32, false, true)
ADD_FORM(add_float32_weighted, MR_ROWS_FLOAT32, true, false)
ADD_FORM(add_float32_weighted_sixteen, MR_ROWS_FLOAT32, true, true)
ADD_FORM(add_bfloat16, MR_ROWS_BFLOAT16, false, false)
ADD_FORM(add_bfloat16_sixteen, MR_ROWS_BFLOAT16, false, true)
ADD_FORM(add_bfloat16_weighted, MR_ROWS_BFLOAT16, true, false)
ADD_FORM(add_bfloat16_weighted_sixteen, MR_ROWS_BFLOAT16, true, true)
ADD_FORM(add_int8, MR_ROWS_INT8, false, false)
ADD_FORM(add_int8_sixteen, MR_ROWS_INT8, false, true)
ADD_FORM(add_int8_weighted, MR_ROWS_INT8, true, false)
ADD_FORM(add_int8_weighted_sixteen, MR_ROWS_INT8, true, true)

void ADD(const mr_embedding *t, const uint32_t *rows, const float *weights, const uint32_t *slots, size_t count, float *out, size_t slot_stride) {
  static const mr_add_function forms[3][2][2] = {
      {{add_float32, add_float32_sixteen}, {add_float32_weighted, add_float32_weighted_sixteen}},
      {{add_bfloat16, add_bfloat16_sixteen}, {add_bfloat16_weighted, add_bfloat16_weighted_sixteen}},
      {{add_int8, add_int8_sixteen}, {add_int8_weighted, add_int8_weighted_sixteen}},
  };
  forms[t->element - MR_ROWS_FLOAT32][weights != NULL][t->width == 16](t, rows, weights, slots, count, out, slot_stride);
}
