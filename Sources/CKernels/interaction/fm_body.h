// Hot: no allocation. Factorization machines in any vectors. The includer has read its rows_*.h, and defines FM, the function's name.
#define UNROLL _Pragma("clang loop unroll(full)")
// Factors of one pass over a row's entries: four vectors.
#define COLUMNS (4 * LANES)

/// LANES * vectors factors (the first `tail` of the last vector unless `full`) of one output of one batch row. `element`, `vectors` and `full`
/// are constants where this is inlined.
INLINE void block(const mr_embedding *t, const uint32_t *rows, const float *weights, int32_t from, int32_t to, int32_t fetch_end, int32_t ahead,
                  uint32_t used, uint32_t head, uint32_t at, float *linear, float *factors, float *squares, const int element,
                  const int vectors, const bool full, uint32_t tail) {
  if (!full) __builtin_assume(tail < LANES);
  const uint32_t each = mr_element_bytes(element), stride = t->row_bytes;
  const uint8_t *base = t->rows;
  vf sums[4], square = vf_set(0);
  float line = 0;
  UNROLL for (int v = 0; v < vectors; v++) sums[v] = vf_set(0);
  for (int32_t e = from; e < to; e++) {
    if (e < fetch_end) mr_prefetch_lines(base + (uint64_t)rows[e + ahead] * stride, used);
    const uint8_t *row = base + (uint64_t)rows[e] * stride;
    const float x = weights[e];
    line += x * mr_load_float(row + head);
    const vf factor = vf_set(element == MR_ROWS_INT8 ? x * mr_load_float(row) : x);
    const vf shift = vf_set(element == MR_ROWS_INT8 ? x * mr_load_float(row + 4) : 0);
    UNROLL for (int v = 0; v < vectors; v++) {
      const uint8_t *p = row + at + (uint32_t)v * LANES * each;
      const bool whole = full || v < vectors - 1;
      vf xv = whole ? row_load(element, p) : row_load_some(element, p, tail);
      xv = element == MR_ROWS_INT8 ? vf_fma(xv, factor, shift) : vf_mul(xv, factor);
      if (element == MR_ROWS_INT8 && !whole) xv = row_first(xv, tail);
      sums[v] = vf_add(sums[v], xv);
      square = vf_fma(xv, xv, square);
    }
  }
  if (linear) *linear += line;
  *squares += vf_sum(square);
  UNROLL for (int v = 0; v < vectors; v++) {
    float *of = factors + v * LANES;
    if (full || v < vectors - 1)
      vf_store(of, vf_add(vf_load(of), sums[v]));
    else
      vf_store_some(of, vf_add(vf_load_some(of, tail), sums[v]), tail);
  }
}

#define CASE(vectors, full)                                                                                                       \
  case vectors * 2 + full:                                                                                                        \
    block(t, rows, weights, from, to, fetch_end, ahead, used, head, at, linear, factors, squares, element, vectors, full, tail);  \
    break;

INLINE void partial(const mr_embedding *t, uint32_t outputs, const uint32_t *rows, const float *weights, const int32_t *ends, int32_t batch_rows,
                    float *accumulators, const int element) {
  const uint32_t k = t->width / outputs, each = mr_element_bytes(element), values_at = mr_values_at(element, t->head);
  const uint32_t used = values_at + t->width * each;
  const int32_t entries = ends[batch_rows - 1], ahead = mr_rows_ahead(used);
  for (int32_t i = 0; i < ahead && i < entries; i++) mr_prefetch_lines(mr_row_at(t, rows[i]), used);
  int32_t from = 0;
  for (int32_t r = 0; r < batch_rows; r++) {
    const int32_t to = ends[r];
    for (uint32_t o = 0; o < outputs; o++) {
      float *a = accumulators + ((size_t)r * outputs + o) * ((size_t)k + 2);
      for (uint32_t column = 0; column < k; column += COLUMNS) {
        const uint32_t wide = k - column < COLUMNS ? k - column : COLUMNS, tail = wide % LANES;
        const uint32_t at = values_at + (o * k + column) * each, head = mr_head_at(element) + o * 4;
        // Each row is fetched once, by its first block.
        const int32_t fetch_end = o == 0 && column == 0 ? entries - ahead : 0;
        float *linear = column == 0 ? a : NULL, *factors = a + 1 + column, *squares = a + 1 + k;
        switch ((wide + LANES - 1) / LANES * 2 + (wide % LANES == 0)) {
          CASE(1, true) CASE(2, true) CASE(3, true) CASE(4, true) CASE(1, false) CASE(2, false) CASE(3, false) CASE(4, false)
        }
      }
    }
    from = to;
  }
}

#define FORM(name, element)                                                                                                  \
  TARGET __attribute__((noinline)) static void name(const mr_embedding *t, uint32_t outputs, const uint32_t *rows,            \
                                                    const float *weights, const int32_t *ends, int32_t batch_rows, float *a) { \
    partial(t, outputs, rows, weights, ends, batch_rows, a, element);                                                          \
  }

FORM(partial_float32, MR_ROWS_FLOAT32)
FORM(partial_bfloat16, MR_ROWS_BFLOAT16)
FORM(partial_int8, MR_ROWS_INT8)

void FM(const mr_embedding *t, uint32_t outputs, const uint32_t *rows, const float *weights, const int32_t *ends, int32_t batch_rows,
        float *accumulators) {
  switch (t->element) {
    case MR_ROWS_FLOAT32: partial_float32(t, outputs, rows, weights, ends, batch_rows, accumulators); break;
    case MR_ROWS_BFLOAT16: partial_bfloat16(t, outputs, rows, weights, ends, batch_rows, accumulators); break;
    default: partial_int8(t, outputs, rows, weights, ends, batch_rows, accumulators); break;
  }
}
