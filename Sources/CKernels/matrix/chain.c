// Hot: one or more layers over rows, a block of rows at a time. No allocation: all memory is the caller's scratch.
#include <string.h>

#include "packed_matrix.h"

/// Where a chain keeps the rows of a block.
typedef struct block {
  size_t rows;
  /// Bytes between rows.
  size_t float_stride, narrow_stride, copy_stride;
  float *floats[2];
  /// The first layer's rows, when they have to lie apart.
  float *copy;
  char *narrow;
  float *scales;
  int32_t *masks;
} block;

/// Inputs of a block's rows: with a panel of weights they stay in the second-level cache.
#define BLOCK_BYTES ((size_t)384 << 10)
/// Weights beyond this are read from memory for each block, which then has as many rows as there may be.
#define CACHED_WEIGHT_BYTES ((size_t)16 << 20)
/// Rows whose distance is a multiple of this fall on the same sets of the first-level cache.
#define SET_BYTES 4096
/// So many rows find room there all the same.
enum { CLOSE_ROWS_MAX = 8 };

static size_t block_rows_max(const mr_matrix *const *layers, size_t count) {
  size_t tile = 1, row = 1;
  bool cached = true;
  for (size_t l = 0; l < count; l++) {
    const mr_panels *panels = &layers[l]->panels;
    const size_t bytes = panels->inputs * (panels->form->value_bytes ? panels->form->value_bytes : 4);
    if (panels->form->tile_rows > tile) tile = panels->form->tile_rows;
    if (bytes > row) row = bytes;
    if (mr_panels_bytes(panels) > CACHED_WEIGHT_BYTES) cached = false;
  }
  size_t tiles = cached ? BLOCK_BYTES / row / tile : MR_BLOCK_TILES;
  if (tiles < 2) tiles = 2;
  if (tiles > MR_BLOCK_TILES) tiles = MR_BLOCK_TILES;
  return tile * tiles;
}

static size_t block_rows(size_t rows, size_t most) {
  if (rows <= most) return rows;
  // Blocks of about the same size: no small one at the end.
  const size_t blocks = (rows + most - 1) / most;
  return (rows + blocks - 1) / blocks;
}

/// Lays a block of `rows` out from `base` on; gives the bytes taken.
static size_t lay_out(const mr_matrix *const *layers, size_t count, size_t rows, char *base, block *b) {
  size_t floats = 0, narrow = 0;
  for (size_t l = 0; l < count; l++) {
    const mr_panels *panels = &layers[l]->panels;
    if (l + 1 < count && panels->outputs > floats) floats = panels->outputs;
    if (panels->form->value_bytes) {
      const size_t stride = mr_narrow_stride(panels->form, panels->inputs);
      if (stride > narrow) narrow = stride;
    }
  }
  b->rows = rows;
  // An odd number of cache lines: rows do not fall on the same sets.
  b->float_stride = floats ? (mr_round_up(floats * 4, 64) | 64) : 0;
  b->narrow_stride = narrow;
  b->copy_stride = layers[0]->panels.form->value_bytes ? 0 : (mr_round_up(layers[0]->panels.inputs * 4, 64) | 64);
  const size_t float_bytes = b->rows * b->float_stride;
  const size_t row_bytes = mr_round_up(b->rows * 4, 64);
  size_t at = 0;
  b->floats[0] = (float *)(base + at);
  at += float_bytes;
  b->floats[1] = (float *)(base + at);
  at += float_bytes;
  b->copy = (float *)(base + at);
  at += b->rows * b->copy_stride;
  b->narrow = base + at;
  at += b->rows * b->narrow_stride;
  b->scales = (float *)(base + at);
  at += row_bytes;
  b->masks = (int32_t *)(base + at);
  at += row_bytes;
  return at;
}

size_t mr_chain_scratch_bytes(const mr_matrix *const *layers, size_t count, size_t rows) {
  block b;
  static char nowhere[64];
  // Of the largest block that so many rows may be cut into: more rows never need less.
  const size_t most = block_rows_max(layers, count);
  return lay_out(layers, count, rows < most ? rows : most, nowhere, &b);
}

void mr_chain_run(const mr_matrix *const *layers, size_t count, const float *x, size_t x_stride, size_t rows, float *y, size_t y_stride,
                  void *scratch) {
  if (rows == 0) return;
  block b;
  lay_out(layers, count, block_rows(rows, block_rows_max(layers, count)), scratch, &b);
  for (size_t first = 0; first < rows; first += b.rows) {
    const size_t part = rows - first < b.rows ? rows - first : b.rows;
    const float *in = x + first * x_stride;
    size_t in_stride = x_stride;
    for (size_t l = 0; l < count; l++) {
      const mr_matrix *layer = layers[l];
      const mr_panels *panels = &layer->panels;
      const mr_form *form = panels->form;
      const bool last = l + 1 == count;
      float *out = last ? y + first * y_stride : b.floats[l & 1];
      const size_t out_stride = last ? y_stride : b.float_stride / 4;
      mr_operand operand = {.rows = in, .stride = in_stride * 4};
      if (form->value_bytes) {
        operand = (mr_operand){.rows = b.narrow, .stride = mr_narrow_stride(form, panels->inputs), .scales = b.scales, .masks = b.masks};
        form->narrow(panels, in, in_stride, part, b.narrow, operand.stride, b.scales, b.masks);
      } else if (l == 0 && in_stride * 4 % SET_BYTES == 0 && part > CLOSE_ROWS_MAX && panels->outputs > form->width) {
        for (size_t r = 0; r < part; r++) memcpy((char *)b.copy + r * b.copy_stride, in + r * in_stride, panels->inputs * 4);
        operand = (mr_operand){.rows = b.copy, .stride = b.copy_stride};
      }
      form->multiply(panels, &operand, part, out, out_stride);
      if (layer->activation > MR_ACTIVATION_RELU)
        for (size_t r = 0; r < part; r++) mr_math_activate(layer->activation, out + r * out_stride, out + r * out_stride, panels->outputs);
      in = out;
      in_stride = out_stride;
    }
  }
}
