// Packed weights and how they are made. For kernels only.
#pragma once
#include "matrix_internal.h"

struct mr_matrix {
  int precision, activation, isa;
  mr_panels panels;
};

/// Rows that a chain carries through its layers at once, in register tiles: narrow rows, their outputs and a panel of weights stay in the
/// second-level cache.
#define MR_BLOCK_TILES 8

void *mr_zeroed(size_t bytes);

/// Where an output's weights lie in the panels, in weights; groups are powers of two.
typedef struct mr_column {
  size_t begin, step;
  unsigned shift;
} mr_column;

mr_column mr_column_of(const mr_panels *panels, size_t output);

static inline size_t mr_column_place(const mr_panels *panels, mr_column column, size_t input) {
  const size_t place = mr_input_place(panels, input);
  return column.begin + (place >> column.shift) * column.step + (place & ((1u << column.shift) - 1));
}

bool mr_panels_prepare(mr_panels *panels, const mr_form *form, size_t inputs, size_t outputs, bool scaled);
void mr_panels_release(mr_panels *panels);
size_t mr_panels_bytes(const mr_panels *panels);
