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
size_t mr_panel_index(const mr_panels *panels, size_t output, size_t input);
bool mr_panels_prepare(mr_panels *panels, const mr_form *form, size_t inputs, size_t outputs, bool scaled);
void mr_panels_release(mr_panels *panels);
size_t mr_panels_bytes(const mr_panels *panels);
