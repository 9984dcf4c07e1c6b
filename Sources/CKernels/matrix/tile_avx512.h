// Hot: register tiles of 1...14 rows x 32 columns over panels, for any element whose step is 32 bits. Included once by each precision, which
// defines VECTOR, ZERO, LOAD(p), MASKED_LOAD(mask, p), BROADCAST(p), DOT(sum, x, w), ADD(a, b), TARGET; and VECTOR4, QUARTER(v),
// SUM4(a, b, c, d) to add up lanes. Weights are streamed once for each tile of rows; sums stay in
// registers over all inputs.
#pragma once
#include <immintrin.h>

#include "matrix_internal.h"

enum { TILE_ROWS = 14, PANEL = 32, HALF_PANEL = 16 };

#define UNROLL _Pragma("clang loop unroll(full)")

/// Sums of R rows x V vectors: begin[r][v] + all steps. U sets of sums hide the latency of small tiles.
static inline __attribute__((always_inline)) TARGET void tile_sums(VECTOR out[TILE_ROWS][2], const char *x, size_t x_stride, const char *w,
                                                                   size_t w_stride, size_t steps, const int R, const int V, const int U) {
  VECTOR sums[4][TILE_ROWS][2];
  UNROLL for (int u = 0; u < U; u++) UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < V; v++) sums[u][r][v] =
      u == 0 ? out[r][v] : ZERO;
  size_t s = 0;
  for (; s + (size_t)U <= steps; s += (size_t)U) {
    UNROLL for (int u = 0; u < U; u++) {
      VECTOR weights[2];
      UNROLL for (int v = 0; v < V; v++) weights[v] = LOAD(w + 64 * v);
      _mm_prefetch(w + PREFETCH_BYTES, _MM_HINT_T0);
      if (V > 1) _mm_prefetch(w + PREFETCH_BYTES + 64, _MM_HINT_T0);
      UNROLL for (int r = 0; r < R; r++) {
        const VECTOR value = BROADCAST(x + (size_t)r * x_stride + 4 * u);
        UNROLL for (int v = 0; v < V; v++) sums[u][r][v] = DOT(sums[u][r][v], value, weights[v]);
      }
      w += w_stride;
    }
    x += 4 * U;
  }
  for (; s < steps; s++) {
    UNROLL for (int r = 0; r < R; r++) {
      const VECTOR value = BROADCAST(x + (size_t)r * x_stride);
      UNROLL for (int v = 0; v < V; v++) sums[0][r][v] = DOT(sums[0][r][v], value, LOAD(w + 64 * v));
    }
    w += w_stride;
    x += 4;
  }
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < V; v++) {
    out[r][v] = sums[0][r][v];
    UNROLL for (int u = 1; u < U; u++) out[r][v] = ADD(out[r][v], sums[u][r][v]);
  }
}

/// One tile: where its rows, its panel and its outputs are.
typedef struct tile {
  const char *x;
  size_t x_stride;
  const char *weights;
  size_t weights_stride, steps;
  /// Columns of the panel that are outputs.
  size_t columns;
  /// From the panel's first column and the tile's first row on.
  const float *bias, *scales, *row_scales;
  const int32_t *corrections, *row_masks;
  float floor;
  bool accumulates;
  void *y;
  size_t y_stride;
} tile;

typedef void (*tile_function)(const tile *t);
/// All rows of a panel of one column.
typedef void (*single_function)(const tile *t, size_t rows);

static inline __attribute__((always_inline)) TARGET __mmask16 column_mask(size_t columns, int v) {
  const size_t first = 16 * (size_t)v;
  if (columns >= first + 16) return 0xffff;
  return columns <= first ? 0 : (__mmask16)((1u << (columns - first)) - 1);
}

/// Calls TILE(R, V, U) for each number of rows: enough sums to fill the pipes.
#define TILES_OF(TILE, V) \
  {TILE(1, V, 4), TILE(2, V, 4), TILE(3, V, 2), TILE(4, V, 2), TILE(5, V, 1), TILE(6, V, 1), TILE(7, V, 1), \
   TILE(8, V, 1), TILE(9, V, 1), TILE(10, V, 1), TILE(11, V, 1), TILE(12, V, 1), TILE(13, V, 1), TILE(14, V, 1)}
#define EACH_TILE(DEFINE, V) \
  DEFINE(1, V, 4) DEFINE(2, V, 4) DEFINE(3, V, 2) DEFINE(4, V, 2) DEFINE(5, V, 1) DEFINE(6, V, 1) DEFINE(7, V, 1) \
  DEFINE(8, V, 1) DEFINE(9, V, 1) DEFINE(10, V, 1) DEFINE(11, V, 1) DEFINE(12, V, 1) DEFINE(13, V, 1) DEFINE(14, V, 1)

/// A panel of one column: sums of up to 4 rows with it, along the inputs; the lanes of `begin` are where the rows' sums begin.
static inline __attribute__((always_inline)) TARGET VECTOR4 dots_of(const tile *t, size_t row, size_t rows) {
  const char *x[4];
  for (size_t r = 0; r < 4; r++) x[r] = t->x + (row + (r < rows ? r : 0)) * t->x_stride;
  VECTOR sums[4] = {ZERO, ZERO, ZERO, ZERO};
  size_t s = 0;
  for (; s + 16 <= t->steps; s += 16) {
    const VECTOR weights = LOAD(t->weights + 4 * s);
    UNROLL for (int r = 0; r < 4; r++) sums[r] = DOT(sums[r], LOAD(x[r] + 4 * s), weights);
  }
  if (s < t->steps) {
    const __mmask16 mask = (__mmask16)((1u << (t->steps - s)) - 1);
    const VECTOR weights = MASKED_LOAD(mask, t->weights + 4 * s);
    UNROLL for (int r = 0; r < 4; r++) sums[r] = DOT(sums[r], MASKED_LOAD(mask, x[r] + 4 * s), weights);
  }
  return SUM4(QUARTER(sums[0]), QUARTER(sums[1]), QUARTER(sums[2]), QUARTER(sums[3]));
}

/// All tiles of all panels; the panel's weights are used for every row before the next panel's.
static void run_tiles(const mr_panels *panels, const mr_operand *x, size_t rows, void *y, size_t y_stride,
                      tile_function const functions[2][TILE_ROWS], single_function single) {
  const size_t tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
  for (size_t first = 0; first < panels->outputs; first += PANEL) {
    const size_t width = mr_panel_columns(panels->form, panels->outputs, first);
    tile t = {
        .x_stride = x->stride,
        .weights = (const char *)panels->weights + first * panels->steps * 4,
        .weights_stride = width * 4,
        .steps = panels->steps,
        .columns = panels->outputs - first < width ? panels->outputs - first : width,
        .bias = panels->bias + first,
        .scales = panels->scales + (panels->scales ? first : 0),
        .corrections = panels->corrections + (panels->corrections ? first : 0),
        .floor = panels->floor,
        .y_stride = y_stride,
    };
    if (width == 1) {
      t.x = x->rows;
      t.row_scales = x->scales;
      t.row_masks = x->masks;
      t.y = (char *)y + first * 4;
      single(&t, rows);
      break;
    }
    size_t row = 0;
    for (size_t i = 0; i < tiles; i++) {
      // Tiles of about the same number of rows.
      const size_t end = (i + 1) * rows / tiles;
      t.x = (const char *)x->rows + row * x->stride;
      t.row_scales = x->scales + (x->scales ? row : 0);
      t.row_masks = x->masks + (x->masks ? row : 0);
      t.y = (char *)y + (row * y_stride + first) * 4;
      functions[width == PANEL][end - row - 1](&t);
      row = end;
    }
  }
}
