// Hot: tiles whose sums are floats. The includer defines what tile.h wants, but for sums, and EACH_ROWS (EACH_4, EACH_6 or EACH_14).
#pragma once
#define SUM vf
#define SUM_ZERO vf_set(0)
#define SUM_ADD(a, b) vf_add(a, b)
#include "tile.h"

INLINE void layer(const tile *t, const int R, const int V, const int U) {
  vf sums[TILE_ROWS][VECTORS];
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < V; v++) sums[r][v] = SUM_ZERO;
  add_products(t, sums, R, V, U);
  const vf floor = vf_set(t->floor);
  UNROLL for (int v = 0; v < V; v++) {
    const size_t columns = columns_from(t, v);
    const vf bias = vf_load(t->bias + LANES * v);
    // The greater gives its second operand when one is NaN.
    UNROLL for (int r = 0; r < R; r++)
        vf_store_some((float *)t->y + (size_t)r * t->y_stride + LANES * v, vf_max(floor, vf_add(sums[r][v], bias)), columns);
  }
}

EACH_ROWS(TILE_DEFINE, layer, HALF_VECTORS)
EACH_ROWS(TILE_DEFINE, layer, VECTORS)
static tile_function const narrow_layers[TILE_ROWS] = {EACH_ROWS(TILE_NAME, layer, HALF_VECTORS)};
static tile_function const layers[TILE_ROWS] = {EACH_ROWS(TILE_NAME, layer, VECTORS)};
