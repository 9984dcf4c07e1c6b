// Products of operands that both come at run time, and raw integer products.
#include <stdlib.h>
#include <string.h>

#include "mr_isa.h"
#include "packed_matrix.h"

/// Rows of `a` that are gathered at once when its columns do not lie together.
enum { GATHERED_ROWS = 16 };

static size_t panel_bytes(const mr_form *form, size_t k) { return mr_round_up(form->width * k * 4, 64); }

size_t mr_product_scratch_bytes(size_t k) {
  // The widest panel of any form: a matrix of scratch serves whichever set is in force.
  return mr_round_up(64 * k * 4, 64) + mr_round_up(GATHERED_ROWS * k * 4, 64) + 64;
}

void mr_product_f32(const float *a, ptrdiff_t a_row, ptrdiff_t a_column, const float *b, ptrdiff_t b_row, ptrdiff_t b_column, float *c,
                    ptrdiff_t c_stride, size_t m, size_t k, size_t n, bool accumulates, void *scratch) {
  if (m == 0 || n == 0) return;
  const mr_form *form = mr_form_in_force(MR_FLOAT32);
  float *panel = scratch;
  float *gathered = (float *)((char *)scratch + panel_bytes(form, k));
  for (size_t first = 0; first < n; first += form->width) {
    const size_t columns = n - first < form->width ? n - first : form->width;
    const float *panel_b = b + (ptrdiff_t)first * b_column;
    size_t stride = (size_t)b_row;
    // Whole panels of a row-major b are used where they lie, unless many rows pay for the copy.
    if (b_column != 1 || b_row < 0 || columns < form->width || m > 2 * form->tile_rows) {
      stride = form->width;
      for (size_t i = 0; i < k; i++) {
        const float *row = panel_b + (ptrdiff_t)i * b_row;
        float *packed = panel + i * stride;
        if (b_column == 1) memcpy(packed, row, columns * 4);
        else
          for (size_t o = 0; o < columns; o++) packed[o] = row[(ptrdiff_t)o * b_column];
        for (size_t o = columns; o < stride; o++) packed[o] = 0;
      }
      panel_b = panel;
    }
    if (a_column == 1 && a_row >= 0) {
      const mr_operand operand = {.rows = a, .stride = (size_t)a_row * 4};
      form->multiply_strided(&operand, m, panel_b, stride, k, columns, c + first, (size_t)c_stride, accumulates);
      continue;
    }
    for (size_t r = 0; r < m; r += GATHERED_ROWS) {
      const size_t part = m - r < GATHERED_ROWS ? m - r : GATHERED_ROWS;
      for (size_t j = 0; j < part; j++) {
        const float *row = a + (ptrdiff_t)(r + j) * a_row;
        for (size_t i = 0; i < k; i++) gathered[j * k + i] = row[(ptrdiff_t)i * a_column];
      }
      const mr_operand operand = {.rows = gathered, .stride = k * 4};
      form->multiply_strided(&operand, part, panel_b, stride, k, columns, c + (ptrdiff_t)r * c_stride + first, (size_t)c_stride,
                             accumulates);
    }
  }
}

void mr_product_f64(const double *a, ptrdiff_t a_row, ptrdiff_t a_column, const double *b, ptrdiff_t b_row, ptrdiff_t b_column, double *c,
                    ptrdiff_t c_stride, size_t m, size_t k, size_t n, bool accumulates) {
  for (size_t r = 0; r < m; r++) {
    double *out = c + (ptrdiff_t)r * c_stride;
    if (!accumulates)
      for (size_t o = 0; o < n; o++) out[o] = 0;
    for (size_t i = 0; i < k; i++) {
      const double value = a[(ptrdiff_t)r * a_row + (ptrdiff_t)i * a_column];
      const double *row = b + (ptrdiff_t)i * b_row;
      for (size_t o = 0; o < n; o++) out[o] += value * row[(ptrdiff_t)o * b_column];
    }
  }
}

struct mr_integer_matrix {
  mr_panels panels;
  /// Sums of b's columns (as packed), and b's zero points less what packing took off.
  int32_t *sums, *zeros;
  bool has_zeros;
};

static int32_t byte_at(const void *bytes, bool is_signed, ptrdiff_t at) {
  return is_signed ? ((const int8_t *)bytes)[at] : ((const uint8_t *)bytes)[at];
}

mr_integer_matrix *mr_integer_matrix_create(const void *b, bool b_signed, ptrdiff_t row, ptrdiff_t column, size_t k, size_t n,
                                            const void *zeros, size_t zero_count) {
  mr_integer_matrix *matrix = calloc(1, sizeof *matrix);
  if (!matrix) return NULL;
  mr_panels *panels = &matrix->panels;
  const size_t padded = mr_round_up(n ? n : 1, 64) * sizeof(int32_t);
  matrix->sums = mr_zeroed(padded);
  matrix->zeros = mr_zeroed(padded);
  if (!mr_panels_prepare(panels, mr_form_in_force(MR_INT8), k, n, true) || !matrix->sums || !matrix->zeros) {
    mr_integer_matrix_destroy(matrix);
    return NULL;
  }
  // Unsigned values are stored as signed ones, 128 less, and so is their zero point.
  const int32_t shift = b_signed ? 0 : 128;
  for (size_t o = 0; o < n; o++) {
    const mr_column place = mr_column_of(panels, o);
    uint32_t sum = 0;
    for (size_t i = 0; i < k; i++) {
      const int32_t value = byte_at(b, b_signed, (ptrdiff_t)i * row + (ptrdiff_t)o * column) - shift;
      ((int8_t *)panels->weights)[mr_column_place(panels, place, i)] = (int8_t)value;
      sum += (uint32_t)value;
    }
    matrix->sums[o] = (int32_t)sum;
    if (panels->starts) panels->starts[o] = (int32_t)(128 * sum);
    matrix->zeros[o] = (zero_count == 0 ? 0 : byte_at(zeros, b_signed, zero_count == 1 ? 0 : (ptrdiff_t)o)) - shift;
    matrix->has_zeros |= matrix->zeros[o] != 0;
  }
  return matrix;
}

void mr_integer_matrix_destroy(mr_integer_matrix *matrix) {
  if (!matrix) return;
  mr_panels_release(&matrix->panels);
  free(matrix->sums);
  free(matrix->zeros);
  free(matrix);
}

static size_t integer_block(const mr_form *form, size_t rows) {
  const size_t most = form->tile_rows * MR_BLOCK_TILES;
  return rows < most ? rows : most;
}

size_t mr_integer_scratch_bytes(const mr_integer_matrix *matrix, size_t rows) {
  const mr_form *form = matrix->panels.form;
  const size_t block = integer_block(form, rows);
  return block * mr_narrow_stride(form, matrix->panels.inputs) + mr_round_up(block * 4, 64) + mr_round_up(matrix->panels.inputs, 64);
}

void mr_integer_multiply(const mr_integer_matrix *matrix, const void *a, bool a_signed, size_t a_stride, const void *a_zeros,
                         size_t a_zero_count, size_t rows, int32_t *c, size_t c_stride, void *scratch) {
  const mr_panels *panels = &matrix->panels;
  const mr_form *form = panels->form;
  const size_t k = panels->inputs, n = panels->outputs, stride = mr_narrow_stride(form, k);
  const size_t block = integer_block(form, rows);
  char *narrow = scratch;
  int32_t *masks = (int32_t *)(narrow + block * stride);
  uint8_t *shifted = (uint8_t *)masks + mr_round_up(block * 4, 64);
  const int32_t shift = a_signed ? 128 : 0;
  for (size_t first = 0; first < rows; first += block) {
    const size_t part = rows - first < block ? rows - first : block;
    for (size_t r = 0; r < part; r++) {
      const uint8_t *row = (const uint8_t *)a + (first + r) * a_stride;
      // Signed values become unsigned, 128 more: the sign bit turned over.
      if (a_signed) {
        for (size_t i = 0; i < k; i++) shifted[i] = row[i] ^ 128;
        row = shifted;
      }
      form->widen(row, k, panels->steps * form->group, narrow + r * stride);
      masks[r] = 0;
    }
    const mr_operand operand = {.rows = narrow, .stride = stride, .masks = masks};
    int32_t *out = c + first * c_stride;
    form->multiply_raw(panels, &operand, part, out, c_stride);
    for (size_t r = 0; r < part; r++) {
      const int32_t a_zero =
          (a_zero_count == 0 ? 0 : byte_at(a_zeros, a_signed, a_zero_count == 1 ? 0 : (ptrdiff_t)(first + r))) + shift;
      uint32_t sum = 0;
      if (matrix->has_zeros) {
        const uint8_t *row = (const uint8_t *)a + (first + r) * a_stride;
        const uint8_t turned = a_signed ? 128 : 0;
        for (size_t i = 0; i < k; i++) sum += (uint32_t)(row[i] ^ turned);
      }
      if (a_zero == 0 && !matrix->has_zeros) continue;
      // Σ (a - za)(b - zb) = Σ ab - za Σ b - zb (Σ a - k za)
      const uint32_t rest = sum - (uint32_t)k * (uint32_t)a_zero;
      for (size_t o = 0; o < n; o++)
        out[r * c_stride + o] = (int32_t)((uint32_t)out[r * c_stride + o] - (uint32_t)a_zero * (uint32_t)matrix->sums[o] -
                                          (uint32_t)matrix->zeros[o] * rest);
    }
  }
}
