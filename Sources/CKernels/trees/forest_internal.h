// What the kernels of forests share; for Sources/CKernels/trees only.
#pragma once
#include "mr_trees.h"

/// The nodes as they came. Owned copies.
typedef struct plain_forest {
  mr_tree_node *nodes;
  mr_tree *trees;
  uint32_t *category_bits;
  double *leaf_values;
} plain_forest;

struct mr_forest {
  int32_t feature_count, output_count, leaf_width, summation;
  int64_t tree_count;
  int ways;
  size_t bytes;
  /// See mr_forest_accumulate; 0: no step.
  double accumulator_step;
  plain_forest plain;
};

struct mr_forest_scratch {
  const mr_forest *forest;
};

/// The step for sums that are never beyond `greatest`.
double forest_accumulator_step(double greatest);

bool plain_pack(mr_forest *forest, const mr_forest_source *source);
void plain_free(mr_forest *forest);
void plain_add(const mr_forest *forest, const char *rows, size_t stride, int elements, int64_t count, int64_t from, int64_t to, void *sums);
