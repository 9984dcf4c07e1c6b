// Hot: tiles whose sums are int32. The includer defines what tile.h wants, but for sums, and EACH_ROWS.
#pragma once
#define SUM vi
#define SUM_ZERO vi_set(0)
#define SUM_ADD(a, b) vi_add(a, b)
#include "tile.h"

/// Sums begin with the corrections of rows whose values carry the zero point.
INLINE void sums_of(const tile *t, vi sums[TILE_ROWS][VECTORS], const int R, const int V, const int U) {
  UNROLL for (int v = 0; v < V; v++) {
    const vi correction = vi_load(t->corrections + LANES * v);
    UNROLL for (int r = 0; r < R; r++) sums[r][v] = vi_and(correction, vi_set(t->row_masks[r]));
#if defined(SIGNED_VALUES)
    const vi start = vi_load(t->starts + LANES * v);
    UNROLL for (int r = 0; r < R; r++) sums[r][v] = vi_add(sums[r][v], start);
#endif
  }
  add_products(t, sums, R, V, U);
}

INLINE void layer(const tile *t, const int R, const int V, const int U) {
  vi sums[TILE_ROWS][VECTORS];
  sums_of(t, sums, R, V, U);
  const vf floor = vf_set(t->floor);
  UNROLL for (int v = 0; v < V; v++) {
    const size_t columns = columns_from(t, v);
    const vf bias = vf_load(t->bias + LANES * v), scales = vf_load(t->scales + LANES * v);
    // Multiplied and added apart: the same bits in every form.
    UNROLL for (int r = 0; r < R; r++) {
      const vf scale = vf_mul(vf_set(t->row_scales[r]), scales);
      const vf y = vf_add(vf_mul(vf_of(sums[r][v]), scale), bias);
      vf_store_some((float *)t->y + (size_t)r * t->y_stride + LANES * v, vf_max(floor, y), columns);
    }
  }
}

INLINE void raw(const tile *t, const int R, const int V, const int U) {
  vi sums[TILE_ROWS][VECTORS];
  sums_of(t, sums, R, V, U);
  UNROLL for (int v = 0; v < V; v++) {
    const size_t columns = columns_from(t, v);
    UNROLL for (int r = 0; r < R; r++) vi_store_some((int32_t *)t->y + (size_t)r * t->y_stride + LANES * v, sums[r][v], columns);
  }
}

EACH_ROWS(TILE_DEFINE, layer, HALF_VECTORS)
EACH_ROWS(TILE_DEFINE, layer, VECTORS)
EACH_ROWS(TILE_DEFINE, raw, HALF_VECTORS)
EACH_ROWS(TILE_DEFINE, raw, VECTORS)
static tile_function const narrow_layers[TILE_ROWS] = {EACH_ROWS(TILE_NAME, layer, HALF_VECTORS)};
static tile_function const layers[TILE_ROWS] = {EACH_ROWS(TILE_NAME, layer, VECTORS)};
static tile_function const narrow_raws[TILE_ROWS] = {EACH_ROWS(TILE_NAME, raw, HALF_VECTORS)};
static tile_function const raws[TILE_ROWS] = {EACH_ROWS(TILE_NAME, raw, VECTORS)};
