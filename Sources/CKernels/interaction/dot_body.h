// Hot: no allocation. DLRM's products in any vectors: LANES vectors stand across, transposed; each further vector is multiplied with them
// column by column, so that no sum goes across lanes. The includer has read its rows_*.h, and defines DOT, the function's name, and
// transpose(from, stride, rows, columns, out): of LANES rows of LANES floats, `stride` apart, `rows` rows and the first `columns` columns are
// there (the rest is zero); out[c * LANES + r].
#define UNROLL _Pragma("clang loop unroll(full)")
// Columns that are transposed at a time: 8 KiB of scratch with sixteen lanes.
#define CHUNK 128

/// Products of vectors i ..< i + count with those that stand across (the first of them is vector `block`), over `columns` columns. `count`
/// is a constant where this is inlined. `more`: add to what is there.
INLINE void group(const float *x, uint32_t width, const float *across, uint32_t columns, uint32_t i, const int count, uint32_t block, bool more,
                  float *triangle) {
  vf sums[8];
  UNROLL for (int g = 0; g < count; g++) sums[g] = vf_set(0);
  const float *from = x + (size_t)i * width;
  for (uint32_t c = 0; c < columns; c++) {
    const vf column = vf_load(across + c * LANES);
    UNROLL for (int g = 0; g < count; g++) sums[g] = vf_fma(vf_set(from[(size_t)g * width + c]), column, sums[g]);
  }
  UNROLL for (int g = 0; g < count; g++) {
    const uint32_t own = i + (uint32_t)g - block;
    float *to = triangle + mr_triangle(i + (uint32_t)g) + block;
    if (more) sums[g] = vf_add(sums[g], vf_load_some(to, own));
    vf_store_some(to, sums[g], own);
  }
}

/// `width` may be a constant where this is inlined: then the compiler knows how far vectors lie apart.
INLINE void interact(const float *x, size_t x_stride, uint32_t vectors, const uint32_t width, int32_t batch_rows, float *y, size_t y_stride) {
  _Alignas(64) float across[CHUNK * LANES];
  for (int32_t r = 0; r < batch_rows; r++) {
    const float *from = x + (size_t)r * x_stride;
    float *to = y + (size_t)r * y_stride;
    memcpy(to, from, (size_t)width * 4);
    to += width;
    for (uint32_t block = 0; block + 1 < vectors; block += LANES)
      for (uint32_t start = 0; start < width; start += CHUNK) {
        const uint32_t columns = width - start < CHUNK ? width - start : CHUNK, rows = vectors - block < LANES ? vectors - block : LANES;
        for (uint32_t c = 0; c < columns; c += LANES)
          transpose(from + (size_t)block * width + start + c, width, rows, columns - c < LANES ? columns - c : LANES, across + c * LANES);
        uint32_t i = block + 1;
        for (; i + 8 <= vectors; i += 8) group(from + start, width, across, columns, i, 8, block, start > 0, to);
        if (i + 4 <= vectors) {
          group(from + start, width, across, columns, i, 4, block, start > 0, to);
          i += 4;
        }
        if (i + 2 <= vectors) {
          group(from + start, width, across, columns, i, 2, block, start > 0, to);
          i += 2;
        }
        if (i < vectors) group(from + start, width, across, columns, i, 1, block, start > 0, to);
      }
  }
}

TARGET void DOT(const float *x, size_t x_stride, uint32_t vectors, uint32_t width, int32_t batch_rows, float *y, size_t y_stride) {
  switch (width) {
    case 8: interact(x, x_stride, vectors, 8, batch_rows, y, y_stride); break;
    case 16: interact(x, x_stride, vectors, 16, batch_rows, y, y_stride); break;
    case 32: interact(x, x_stride, vectors, 32, batch_rows, y, y_stride); break;
    case 64: interact(x, x_stride, vectors, 64, batch_rows, y, y_stride); break;
    default: interact(x, x_stride, vectors, width, batch_rows, y, y_stride); break;
  }
}
