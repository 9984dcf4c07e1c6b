// What vectors of one row say about each other: factorization machines and DLRM's dot interaction.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mr_embedding.h"

/// Factorization machine (Rendle, "Factorization Machines", ICDM 2010). A row's head is its linear weights (one for each output), its values
/// are the factors: `k` for each output, end to end (width = outputs * k, head = outputs).
///
/// The accumulator of a batch row, for each output: linear sum, k sums of factors, sum of squares: 1 + k + 1 floats.
/// For batch row r (entries ends[r - 1] ..< ends[r]) with x = weights[e], w and v of row rows[e]:
/// linear += x w; sums += x v; squares += x^2 |v|^2. No row may be outside of the table.
void mr_fm_partial(const mr_embedding *table, uint32_t outputs, const uint32_t *rows, const float *weights, const int32_t *ends,
                   int32_t batch_rows, float *accumulators);
/// margins[r * outputs + o] = bias[o] + linear + (|sums|^2 - squares) / 2.
void mr_fm_finish(uint32_t outputs, uint32_t k, const float *bias, const float *accumulators, int32_t batch_rows, float *margins);

/// DLRM's dot interaction (Naumov et al., "Deep Learning Recommendation Model for Personalization and Recommendation Systems", 2019). Batch
/// row r has `vectors` vectors of `width` at x + r * x_stride, end to end, the first being the dense one. Its output, at y + r * y_stride:
/// the first vector, then for i = 1, 2, … the dot products of vector i with vectors 0 ..< i: width + vectors (vectors - 1) / 2 floats.
void mr_dot_interaction(const float *x, size_t x_stride, uint32_t vectors, uint32_t width, int32_t batch_rows, float *y, size_t y_stride);
