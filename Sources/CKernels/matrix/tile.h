// Hot: register tiles of 1...TILE_ROWS rows x VECTORS vectors of columns, in any instruction set and precision. A tile's sums stay in registers
// over all inputs while its panel of weights is streamed once.
//
// The includer has included a vector_*.h and defines
//   TILE_ROWS; VECTORS of a panel, HALF_VECTORS of a narrow one; SETS(rows): sets of sums, so that small tiles too hide the latency of sums;
//   SUM, SUM_ZERO, SUM_ADD(a, b): vf or vi;
//   WEIGHT, LOAD_WEIGHTS(p): LANES columns of one step; COLUMN_BYTES: bytes of one column of one step;
//   VALUE, LOAD_VALUE(p): one step of a row, in all lanes; VALUE_BYTES: bytes of one step of a row;
//   DOT(sum, value, weights).
#pragma once
#include "matrix_internal.h"

#define UNROLL _Pragma("clang loop unroll(full)")
enum { PANEL = LANES * VECTORS, HALF_PANEL = LANES * HALF_VECTORS, PREFETCHED_BYTES = 1024 };

/// One tile: where its rows, its panel and its outputs are. The arrays begin at the panel's first column or the tile's first row.
typedef struct tile {
  const char *x;
  size_t x_stride;
  const char *weights;
  size_t weights_stride, steps;
  /// Columns of the panel that are outputs.
  size_t columns;
  const float *bias, *scales, *row_scales;
  const int32_t *corrections, *starts, *row_masks;
  float floor;
  bool accumulates;
  void *y;
  size_t y_stride;
} tile;

typedef void (*tile_function)(const tile *t);
/// All rows of a panel of one column.
typedef void (*single_function)(const tile *t, size_t rows);

/// Adds R rows x V vectors, all steps, to `out`.
INLINE void add_products(const tile *t, SUM out[TILE_ROWS][VECTORS], const int R, const int V, const int U) {
  SUM sums[4][TILE_ROWS][VECTORS];
  UNROLL for (int u = 0; u < U; u++) UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < V; v++) sums[u][r][v] =
      u == 0 ? out[r][v] : SUM_ZERO;
  const char *x = t->x, *w = t->weights;
  const size_t x_stride = t->x_stride, w_stride = t->weights_stride, steps = t->steps;
  size_t s = 0;
  for (; s + (size_t)U <= steps; s += (size_t)U) {
    UNROLL for (int u = 0; u < U; u++) {
      WEIGHT weights[VECTORS];
      UNROLL for (int v = 0; v < V; v++) weights[v] = LOAD_WEIGHTS(w + LANES * COLUMN_BYTES * v);
      UNROLL for (int line = 0; line < LANES * COLUMN_BYTES * V; line += 64) __builtin_prefetch(w + PREFETCHED_BYTES + line, 0, 3);
      UNROLL for (int r = 0; r < R; r++) {
        const VALUE value = LOAD_VALUE(x + (size_t)r * x_stride + VALUE_BYTES * u);
        UNROLL for (int v = 0; v < V; v++) sums[u][r][v] = DOT(sums[u][r][v], value, weights[v]);
      }
      w += w_stride;
    }
    x += VALUE_BYTES * U;
  }
  for (; s < steps; s++) {
    WEIGHT weights[VECTORS];
    UNROLL for (int v = 0; v < V; v++) weights[v] = LOAD_WEIGHTS(w + LANES * COLUMN_BYTES * v);
    UNROLL for (int r = 0; r < R; r++) {
      const VALUE value = LOAD_VALUE(x + (size_t)r * x_stride);
      UNROLL for (int v = 0; v < V; v++) sums[0][r][v] = DOT(sums[0][r][v], value, weights[v]);
    }
    w += w_stride;
    x += VALUE_BYTES;
  }
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < V; v++) {
    out[r][v] = sums[0][r][v];
    UNROLL for (int u = 1; u < U; u++) out[r][v] = SUM_ADD(out[r][v], sums[u][r][v]);
  }
}

/// Columns of the panel from vector `v` on that are outputs.
INLINE size_t columns_from(const tile *t, int v) {
  const size_t first = (size_t)v * LANES;
  return t->columns > first ? t->columns - first : 0;
}

/// All tiles of all panels; a panel's weights are used for every row before the next panel's.
static void run_tiles(const mr_panels *panels, const mr_operand *x, size_t rows, void *y, size_t y_stride, tile_function const *wide,
                      tile_function const *narrow, single_function single) {
  const size_t tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
  for (size_t first = 0; first < panels->outputs; first += PANEL) {
    const size_t width = mr_panel_columns(panels->form, panels->outputs, first);
    tile t = {
        .x_stride = x->stride,
        .weights = (const char *)panels->weights + first * panels->steps * COLUMN_BYTES,
        .weights_stride = width * COLUMN_BYTES,
        .steps = panels->steps,
        .columns = panels->outputs - first < width ? panels->outputs - first : width,
        .bias = panels->bias + first,
        .scales = panels->scales ? panels->scales + first : NULL,
        .corrections = panels->corrections ? panels->corrections + first : NULL,
        .starts = panels->starts ? panels->starts + first : NULL,
        .floor = panels->floor,
        .y_stride = y_stride,
    };
    if (width == 1) {
      t.x = x->rows;
      t.row_scales = x->scales;
      t.row_masks = x->masks;
      t.y = (char *)y + first * 4;
      single(&t, rows);
      return;
    }
    tile_function const *functions = width == PANEL ? wide : narrow;
    size_t row = 0;
    for (size_t i = 0; i < tiles; i++) {
      // Tiles of about the same number of rows.
      const size_t end = (i + 1) * rows / tiles;
      t.x = (const char *)x->rows + row * x->stride;
      t.row_scales = x->scales ? x->scales + row : NULL;
      t.row_masks = x->masks ? x->masks + row : NULL;
      t.y = (char *)y + (row * y_stride + first) * 4;
      functions[end - row - 1](&t);
      row = end;
    }
  }
}

/// DO(name, rows, vectors) for each number of rows. TILE_DEFINE makes functions of the inline function `name`, TILE_NAME lists them.
#define EACH_4(DO, name, V) DO(name, 1, V) DO(name, 2, V) DO(name, 3, V) DO(name, 4, V)
#define EACH_6(DO, name, V) EACH_4(DO, name, V) DO(name, 5, V) DO(name, 6, V)
#define EACH_14(DO, name, V) \
  EACH_6(DO, name, V) DO(name, 7, V) DO(name, 8, V) DO(name, 9, V) DO(name, 10, V) DO(name, 11, V) DO(name, 12, V) DO(name, 13, V) \
  DO(name, 14, V)
#define TILE_DEFINE(name, R, V) \
  static TARGET void name##_##R##_##V(const tile *t) { name(t, R, V, SETS(R)); }
#define TILE_NAME(name, R, V) name##_##R##_##V,
