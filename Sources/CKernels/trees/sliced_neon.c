// Hot: no allocation. The sliced way, 64 rows at once; sliced_pack.c says how it works.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "forest_internal.h"

static void walk_rows(const sliced_node *node, const sliced_node *end, const uint8_t *slices, uint8_t *indices) {
  uint8x16_t masks[SLICED_LEAVES_MAX + 1][4];
  for (int i = 0; i < 4; i++) masks[0][i] = vdupq_n_u8(0xFF);
  uint8x16_t i0 = vdupq_n_u8((uint8_t)(end - node)), i1 = i0, i2 = i0, i3 = i0;
  for (; node < end; node++) {
    const uint8x16_t rank = vdupq_n_u8(node->rank), leaf = vdupq_n_u8(node->leaf);
    const uint8_t *codes = slices + node->codes;
    uint8x16_t *mask = masks[node->mask];
    const uint8x16_t g0 = vandq_u8(vcltq_u8(vld1q_u8(codes), rank), mask[0]);
    const uint8x16_t g1 = vandq_u8(vcltq_u8(vld1q_u8(codes + 16), rank), mask[1]);
    const uint8x16_t g2 = vandq_u8(vcltq_u8(vld1q_u8(codes + 32), rank), mask[2]);
    const uint8x16_t g3 = vandq_u8(vcltq_u8(vld1q_u8(codes + 48), rank), mask[3]);
    mask[4] = g0;
    mask[5] = g1;
    mask[6] = g2;
    mask[7] = g3;
    i0 = vbslq_u8(g0, leaf, i0);
    i1 = vbslq_u8(g1, leaf, i1);
    i2 = vbslq_u8(g2, leaf, i2);
    i3 = vbslq_u8(g3, leaf, i3);
  }
  vst1q_u8(indices, i0);
  vst1q_u8(indices + 16, i1);
  vst1q_u8(indices + 32, i2);
  vst1q_u8(indices + 48, i3);
}

void forest_sliced_neon(const mr_forest *forest, const uint8_t *slices, int64_t count, int64_t from, int64_t to, void *sums) {
  uint8_t indices[CHUNK_ROWS];
  for (int64_t t = from; t < to; t++) {
    const packed_tree *tree = &forest->trees[t];
    const sliced_node *node = forest->sliced.nodes + tree->node_start, *end = node + tree->node_count;
    for (int64_t begin = 0; begin < count; begin += 64) walk_rows(node, end, slices + begin, indices + begin);
    forest_sliced_add_leaves(forest, tree, indices, count, sums);
  }
}
#endif
