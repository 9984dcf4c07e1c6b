// Hot: float32 tiles over a right-hand side that lies where it came. Included after tile_floats.h.
#pragma once

INLINE void strided(const tile *t, const int R, const int V, const int U) {
  vf sums[TILE_ROWS][VECTORS];
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < V; v++) sums[r][v] = SUM_ZERO;
  add_products(t, sums, R, V, U);
  UNROLL for (int v = 0; v < V; v++) {
    const size_t columns = columns_from(t, v);
    UNROLL for (int r = 0; r < R; r++) {
      float *y = (float *)t->y + (size_t)r * t->y_stride + LANES * v;
      if (columns == 0) continue;
      const vf before = t->accumulates ? vf_load_some(y, columns) : SUM_ZERO;
      vf_store_some(y, vf_add(before, sums[r][v]), columns);
    }
  }
}

EACH_ROWS(TILE_DEFINE, strided, VECTORS)
static tile_function const strided_tiles[TILE_ROWS] = {EACH_ROWS(TILE_NAME, strided, VECTORS)};

static void multiply_strided(const mr_operand *x, size_t rows, const float *b, size_t b_stride, size_t steps, size_t columns, float *y,
                             size_t y_stride, bool accumulates) {
  const size_t count = (rows + TILE_ROWS - 1) / TILE_ROWS;
  tile t = {.x_stride = x->stride, .weights = (const char *)b, .weights_stride = b_stride * 4, .steps = steps, .columns = columns,
            .accumulates = accumulates, .y_stride = y_stride};
  size_t row = 0;
  for (size_t i = 0; i < count; i++) {
    const size_t end = (i + 1) * rows / count;
    t.x = (const char *)x->rows + row * x->stride;
    t.y = y + row * y_stride;
    strided_tiles[end - row - 1](&t);
    row = end;
  }
}
