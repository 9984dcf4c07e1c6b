#include <math.h>
#include <stdlib.h>

#include "forest_internal.h"

/// No sum of trees is beyond this: of each tree the largest leaf.
static double greatest_sum(const mr_forest_source *s) {
  double sum = 0;
  for (int64_t t = 0; t < s->tree_count; t++) {
    const double *leaves = s->leaf_values + (int64_t)s->trees[t].leaf_start * s->leaf_width;
    const int64_t count = (int64_t)s->trees[t].leaf_count * s->leaf_width;
    double most = 0;
    for (int64_t i = 0; i < count; i++) {
      const double size = fabs(leaves[i]);
      most = size > most ? size : most;
    }
    sum += most;
  }
  return sum;
}

mr_forest *mr_forest_create(const mr_forest_source *source, int ways, mr_forest_problem *problem) {
  if (!mr_forest_check(source, problem)) return NULL;
  mr_forest *forest = calloc(1, sizeof *forest);
  if (forest) {
    forest->feature_count = source->feature_count;
    forest->output_count = source->output_count;
    forest->leaf_width = source->leaf_width;
    forest->summation = source->summation;
    forest->tree_count = source->tree_count;
    forest->accumulator_step = forest_accumulator_step(greatest_sum(source));
    forest->bytes = sizeof *forest;
    forest->ways = MR_FOREST_PLAIN;
    (void)ways;
    if (plain_pack(forest, source)) return forest;
    mr_forest_destroy(forest);
  }
  *problem = (mr_forest_problem){"memory is out", -1, -1};
  return NULL;
}

void mr_forest_destroy(mr_forest *forest) {
  if (!forest) return;
  plain_free(forest);
  free(forest);
}

int mr_forest_ways(const mr_forest *forest) { return forest->ways; }
size_t mr_forest_bytes(const mr_forest *forest) { return forest->bytes; }

mr_forest_scratch *mr_forest_scratch_create(const mr_forest *forest) {
  mr_forest_scratch *scratch = calloc(1, sizeof *scratch);
  if (scratch) scratch->forest = forest;
  return scratch;
}

void mr_forest_scratch_destroy(mr_forest_scratch *scratch) { free(scratch); }

void mr_forest_add(const mr_forest *forest, mr_forest_scratch *scratch, const void *rows, size_t stride, int elements, int64_t count,
                   int64_t from, int64_t to, void *sums) {
  (void)scratch;
  plain_add(forest, rows, stride, elements, count, from, to, sums);
}
