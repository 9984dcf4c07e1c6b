// Hot: no allocation. A few rows, one tree at a time, all nodes of the tree at once: one permutation fetches the codes of up to 63 nodes out of
// the row's 64, one compare decides them all, and where each node leads is then followed by doubling: after k steps every byte knows the node
// 2^k on, and stays at the last one before a leaf.
#if defined(__x86_64__)
#include <immintrin.h>

#include "forest_internal.h"

#define VBMI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi2")))
#define INLINE VBMI static inline __attribute__((always_inline))

typedef struct loaded_tree {
  __m512i columns, ranks, left, right;
} loaded_tree;

INLINE loaded_tree loaded(const doubling_tree *tree) {
  return (loaded_tree){_mm512_load_si512(tree->columns), _mm512_load_si512(tree->ranks), _mm512_load_si512(tree->left), _mm512_load_si512(tree->right)};
}

/// The leaf that the row ends in, from the left.
INLINE uint64_t leaf_of(const loaded_tree *tree, uint32_t steps, __m512i codes) {
  // A tree without nodes has rank 0 everywhere: right of byte 0, which stays, is leaf 0.
  const __mmask64 right = _mm512_cmpge_epu8_mask(_mm512_permutexvar_epi8(tree->columns, codes), tree->ranks);
  __m512i next = _mm512_mask_mov_epi8(tree->left, right, tree->right);
#define STEP next = _mm512_permutexvar_epi8(next, next);
  STEP STEP STEP
  if (steps > 3) STEP
  if (steps > 4) STEP
  if (steps > 5) STEP
#undef STEP
  const uint64_t last = (uint32_t)_mm_cvtsi128_si32(_mm512_castsi512_si128(next)) & 63;
  return last - 1 + (_cvtmask64_u64(right) >> last & 1);
}

/// Rows that share a tree's vectors while they are in registers.
#define SHARING 4

/// One sum a row, which stays in a register.
INLINE void add_sums(const mr_forest *forest, const uint8_t *codes, int rows, int64_t from, int64_t to, void *sums, bool is_float) {
  const float *leaves = forest->leaves.narrow;
  __m512i row[SHARING];
  double wide[SHARING];
  float narrow[SHARING];
  for (int r = 0; r < rows; r++) {
    row[r] = _mm512_load_si512(codes + r * DOUBLING_COLUMNS_MAX);
    wide[r] = is_float ? 0 : ((double *)sums)[r];
    narrow[r] = is_float ? ((float *)sums)[r] : 0;
  }
  for (int64_t t = from; t < to; t++) {
    const loaded_tree tree = loaded(&forest->doubling.trees[t]);
    const uint32_t steps = forest->doubling.steps[t];
    const float *of_tree = leaves + forest->trees[t].leaf_start;
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
      const float leaf = of_tree[leaf_of(&tree, steps, row[r])];
      if (is_float)
        narrow[r] += leaf;
      else
        wide[r] += (double)leaf;
    }
  }
  for (int r = 0; r < rows; r++) {
    if (is_float)
      ((float *)sums)[r] = narrow[r];
    else
      ((double *)sums)[r] = wide[r];
  }
}

VBMI void forest_doubling_avx512(const mr_forest *forest, const uint8_t *codes, int64_t count, int64_t from, int64_t to, void *sums) {
  const bool is_float = forest->summation == MR_TREE_SUM_FLOAT;
  const size_t size = is_float ? sizeof(float) : sizeof(double);
  if (forest->output_count > 1 || !forest->leaves.narrow) {
    for (int64_t r = 0; r < count; r++) {
      const __m512i row = _mm512_load_si512(codes + r * DOUBLING_COLUMNS_MAX);
      void *row_sums = (char *)sums + (size_t)r * size * (size_t)forest->output_count;
      for (int64_t t = from; t < to; t++) {
        const loaded_tree tree = loaded(&forest->doubling.trees[t]);
        add_leaf(forest, forest->trees[t].leaf_start + (int64_t)leaf_of(&tree, forest->doubling.steps[t], row), forest->trees[t].output, row_sums);
      }
    }
    return;
  }
  for (int64_t r = 0; r < count;) {
    const uint8_t *row = codes + r * DOUBLING_COLUMNS_MAX;
    void *row_sums = (char *)sums + (size_t)r * size;
    const int rows = count - r >= SHARING ? SHARING : 1;
    if (rows == SHARING && is_float)
      add_sums(forest, row, SHARING, from, to, row_sums, true);
    else if (rows == SHARING)
      add_sums(forest, row, SHARING, from, to, row_sums, false);
    else if (is_float)
      add_sums(forest, row, 1, from, to, row_sums, true);
    else
      add_sums(forest, row, 1, from, to, row_sums, false);
    r += rows;
  }
}
#endif
