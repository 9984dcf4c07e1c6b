// Hot: no allocation. The sliced way in plain C, and what all its forms share; sliced_pack.c says how it works.
#include "forest_internal.h"

void forest_sliced_add_leaves(const mr_forest *forest, const packed_tree *tree, const uint8_t *indices, int64_t count, void *sums) {
  const int64_t width = forest->leaf_width, start = tree->leaf_start * width;
  for (int64_t o = 0; o < width; o++) {
    const int64_t output = tree->output + o;
    if (forest->summation == MR_TREE_SUM_FLOAT) {
      float *to = (float *)sums + output * CHUNK_ROWS;
      const float *leaves = forest->leaves.narrow + start + o;
      for (int64_t r = 0; r < count; r++) to[r] += leaves[indices[r] * width];
    } else if (forest->leaves.narrow) {
      double *to = (double *)sums + output * CHUNK_ROWS;
      const float *leaves = forest->leaves.narrow + start + o;
      for (int64_t r = 0; r < count; r++) to[r] += (double)leaves[indices[r] * width];
    } else {
      double *to = (double *)sums + output * CHUNK_ROWS;
      const double *leaves = forest->leaves.wide + start + o;
      for (int64_t r = 0; r < count; r++) to[r] += leaves[indices[r] * width];
    }
  }
}

void forest_sliced_scalar(const mr_forest *forest, const uint8_t *slices, int64_t count, int64_t from, int64_t to, void *sums) {
  enum { ROWS = 16 };
  uint8_t indices[CHUNK_ROWS], masks[SLICED_LEAVES_MAX + 1][ROWS];
  memset(masks[0], 0xFF, ROWS);
  for (int64_t t = from; t < to; t++) {
    const packed_tree *tree = &forest->trees[t];
    const sliced_node *node = forest->sliced.nodes + tree->node_start, *end = node + tree->node_count;
    memset(indices, tree->node_count, sizeof indices);
    for (int64_t begin = 0; begin < count; begin += ROWS) {
      uint8_t *index = indices + begin;
      for (const sliced_node *n = node; n < end; n++) {
        const uint8_t *codes = slices + n->codes + begin, *mask = masks[n->mask];
        uint8_t *left = masks[n->mask + 1];
        for (int i = 0; i < ROWS; i++) {
          const uint8_t goes = (uint8_t)-(codes[i] < n->rank) & mask[i];
          left[i] = goes;
          index[i] = (uint8_t)((index[i] & ~goes) | (n->leaf & goes));
        }
      }
    }
    forest_sliced_add_leaves(forest, tree, indices, count, sums);
  }
}
