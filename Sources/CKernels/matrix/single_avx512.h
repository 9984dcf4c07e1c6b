// Hot: a panel of one column with AVX-512: dot products along the inputs, four rows at a time. Included after tile.h by whoever defines
// FULL(p), SOME(mask, p): sixteen steps, or those of the mask; PRODUCT(sum, x, w); QUARTER(v): four lanes whose sum is v's; JOIN(a, b, c, d): the
// sums of four quarters; QUARTER_SUM: their type.
#pragma once

/// The sums of rows row ..< row + rows, up to four.
INLINE QUARTER_SUM dots_of(const tile *t, size_t row, size_t rows) {
  const char *x[4];
  for (size_t r = 0; r < 4; r++) x[r] = t->x + (row + (r < rows ? r : 0)) * t->x_stride;
  SUM sums[4] = {SUM_ZERO, SUM_ZERO, SUM_ZERO, SUM_ZERO};
  size_t s = 0;
  for (; s + 16 <= t->steps; s += 16) {
    const SUM weights = FULL(t->weights + 4 * s);
    UNROLL for (int r = 0; r < 4; r++) sums[r] = PRODUCT(sums[r], FULL(x[r] + 4 * s), weights);
  }
  if (s < t->steps) {
    const __mmask16 mask = lanes_mask(t->steps - s);
    const SUM weights = SOME(mask, t->weights + 4 * s);
    UNROLL for (int r = 0; r < 4; r++) sums[r] = PRODUCT(sums[r], SOME(mask, x[r] + 4 * s), weights);
  }
  return JOIN(QUARTER(sums[0]), QUARTER(sums[1]), QUARTER(sums[2]), QUARTER(sums[3]));
}
