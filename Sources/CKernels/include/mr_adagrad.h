// AdaGrad steps of rows of several weights: the same bits on every machine and instruction set.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// AdaGrad (Duchi, Hazan and Singer, JMLR 2011). `alpha` > 0, `epsilon` > 0, finite: the caller has checked.
typedef struct mr_adagrad {
  float alpha;
  /// Added to the square root.
  float epsilon;
} mr_adagrad;

/// One step of `width` weights from sums of gradients `g` and of their squares `g2` (null: g * g), weight by weight:
/// n += g2; w -= alpha * g / (sqrt(n) + epsilon), in this order of operations, ((alpha * g) / (sqrt(n) + epsilon)).
/// A value that is not finite, or beyond its bound, or a negative g2, counts as zero; a weight whose step would not be finite keeps
/// what it had. Returns how many values and steps were refused.
uint32_t mr_adagrad_step(const mr_adagrad *settings, float *w, float *n, const float *g, const float *g2, size_t width, float g_bound,
                         float g2_bound);

/// Row-wise AdaGrad: one `n` for the whole row: n += (sum of g^2) / width; w -= (alpha / (sqrt(n) + epsilon)) * g.
/// The sum has a fixed order: place i adds to the partial sum i mod 16, in order of i, from zero; then the upper half of the 16 is added to
/// the lower, of 8, of 4 and of 2. Values that are not finite or beyond the bound count as zero; when n would not be finite, nothing
/// changes; a weight whose step would not be finite keeps what it had. Returns how many were refused (`width` when nothing changed).
uint32_t mr_adagrad_row_step(const mr_adagrad *settings, float *w, float *n, const float *g, size_t width, float g_bound);

/// Row-wise AdaGrad of many rows: row rows[i] of `w` (w_stride floats apart) and n[rows[i]] with g + i * width. The caller has checked that
/// rows are there and ascend strictly. Returns the sum of what was refused.
uint64_t mr_adagrad_apply_rows(const mr_adagrad *settings, float *w, size_t w_stride, float *n, const uint32_t *rows, size_t count,
                               const float *g, size_t width, float g_bound);
