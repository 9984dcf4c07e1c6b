// Packing a forest for the ways that suit it, and choosing among them for each batch.
#define _DEFAULT_SOURCE
#include <math.h>
#include <stdlib.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "forest_internal.h"
#include "mr_isa.h"

/// From this size on memory asks for huge pages: walks through large trees miss the TLB at each step otherwise.
static const size_t huge_page = (size_t)2 << 20;

void *forest_allocate(size_t count, size_t size, size_t *bytes) {
  size_t total;
  if (__builtin_mul_overflow(count, size, &total) || __builtin_add_overflow(total, 128 + huge_page, &total)) return NULL;
  total -= huge_page;
  const size_t alignment = total < 2 * huge_page ? 64 : huge_page;
  total = (total + alignment - 1) / alignment * alignment;
  void *memory = aligned_alloc(alignment, total);
  if (!memory) return NULL;
#if defined(__linux__)
  if (alignment == huge_page) madvise(memory, total, MADV_HUGEPAGE);
#endif
  *bytes += total;
  return memory;
}

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

/// Those of `wanted` that can carry the forest; for `MR_FOREST_BEST` those that are worth their memory.
static int ways_for(const mr_forest *forest, const mr_forest_source *s, int wanted) {
  int32_t nodes_most = 0;
  for (int64_t t = 0; t < s->tree_count; t++)
    if (s->trees[t].node_count > nodes_most) nodes_most = s->trees[t].node_count;
  int ways = 0;
  if (nodes_most < SLICED_LEAVES_MAX && forest->code.byte_columns <= COLUMNS_MAX && s->output_count <= SLICED_OUTPUTS_MAX) ways |= MR_FOREST_SLICED;
  if (nodes_most <= DOUBLING_NODES_MAX && forest->code.byte_columns <= DOUBLING_COLUMNS_MAX) ways |= MR_FOREST_DOUBLING;
  if (forest->code.word_columns <= COLUMNS_MAX && forest_walk_slots_max(s) < UINT32_MAX) ways |= MR_FOREST_WALK;
  if (wanted != MR_FOREST_BEST) return ways & wanted;
  // The walk is for few rows where there is no doubling, and for trees that are too large for slices.
  if ((ways & MR_FOREST_SLICED) && (ways & MR_FOREST_DOUBLING) && mr_isa() != MR_ISA_SCALAR) ways &= ~MR_FOREST_WALK;
  return ways;
}

static bool pack(mr_forest *forest, const mr_forest_source *s, int wanted, mr_forest_problem *problem) {
  if (wanted != MR_FOREST_BEST && !(wanted & ~MR_FOREST_PLAIN)) {
    forest->ways = MR_FOREST_PLAIN;
    return forest_plain_pack(forest, s);
  }
  size_t for_now = 0;
  coded_node *coded = forest_allocate((size_t)s->node_count, sizeof *coded, &for_now);
  bool is_good = coded && forest_code_pack(forest, s, coded, problem);
  if (is_good) {
    forest->ways = ways_for(forest, s, wanted);
    if (forest->ways) is_good = forest_leaves_pack(forest, s, coded);
    if (is_good && (forest->ways & MR_FOREST_SLICED)) is_good = forest_sliced_pack(forest, s, coded);
    if (is_good && (forest->ways & MR_FOREST_DOUBLING)) is_good = forest_doubling_pack(forest, s, coded);
    if (is_good && (forest->ways & MR_FOREST_WALK)) is_good = forest_walk_pack(forest, s, coded);
    // Doubling serves one processor's way of one row: something must stand behind it.
    if (is_good && (forest->ways & ~MR_FOREST_DOUBLING) == 0) {
      forest->ways |= MR_FOREST_PLAIN;
      is_good = forest_plain_pack(forest, s);
    }
  }
  free(coded);
  return is_good;
}

mr_forest *mr_forest_create(const mr_forest_source *source, int ways, mr_forest_problem *problem) {
  if (!mr_forest_check(source, problem)) return NULL;
  *problem = (mr_forest_problem){"memory is out", -1, -1};
  mr_forest *forest = calloc(1, sizeof *forest);
  if (!forest) return NULL;
  forest->feature_count = source->feature_count;
  forest->output_count = source->output_count;
  forest->leaf_width = source->leaf_width;
  forest->summation = source->summation;
  forest->tree_count = source->tree_count;
  forest->accumulator_step = forest_accumulator_step(greatest_sum(source));
  forest->bytes = sizeof *forest;
  if (pack(forest, source, ways, problem)) return forest;
  mr_forest_destroy(forest);
  return NULL;
}

bool mr_forest_rank(const mr_forest_source *source, uint32_t *ranks, mr_forest_problem *problem) {
  if (!mr_forest_check(source, problem)) return false;
  *problem = (mr_forest_problem){"memory is out", -1, -1};
  mr_forest *forest = calloc(1, sizeof *forest);
  coded_node *coded = malloc(((size_t)source->node_count + 1) * sizeof *coded);
  mr_forest_source sorted = *source;
  sorted.ranks = NULL;
  const bool is_good = forest && coded && forest_code_pack(forest, &sorted, coded, problem);
  for (int64_t i = 0; is_good && i < source->node_count; i++) ranks[i] = coded[i].scale < 0 ? 0 : (uint32_t)coded[i].rank;
  free(coded);
  mr_forest_destroy(forest);
  return is_good;
}

void mr_forest_destroy(mr_forest *forest) {
  if (!forest) return;
  forest_plain_free(forest);
  forest_code_free(forest);
  forest_sliced_free(forest);
  forest_doubling_free(forest);
  forest_walk_free(forest);
  free(forest->leaves.narrow);
  free(forest->leaves.wide);
  free(forest->trees);
  free(forest);
}

int mr_forest_ways(const mr_forest *forest) { return forest->ways; }
size_t mr_forest_bytes(const mr_forest *forest) { return forest->bytes; }

mr_forest_scratch *mr_forest_scratch_create(const mr_forest *forest) {
  mr_forest_scratch *scratch = calloc(1, sizeof *scratch);
  if (!scratch) return NULL;
  scratch->forest = forest;
  size_t bytes = 0;
  bool is_good = true;
  if (forest->ways & MR_FOREST_SLICED) {
    scratch->slices = forest_allocate((size_t)forest->code.byte_columns, CHUNK_ROWS, &bytes);
    scratch->sums = forest_allocate((size_t)forest->output_count * CHUNK_ROWS, sizeof(double), &bytes);
    is_good = scratch->slices && scratch->sums;
    // Vectors read whole columns, also of rows that are not there.
    if (is_good) memset(scratch->slices, 0, (size_t)forest->code.byte_columns * CHUNK_ROWS);
    if (is_good) memset(scratch->sums, 0, (size_t)forest->output_count * CHUNK_ROWS * sizeof(double));
  }
  if (is_good && (forest->ways & MR_FOREST_DOUBLING)) {
    scratch->row_bytes = forest_allocate(CHUNK_ROWS, DOUBLING_COLUMNS_MAX, &bytes);
    is_good = scratch->row_bytes != NULL;
    if (is_good) memset(scratch->row_bytes, 0, CHUNK_ROWS * DOUBLING_COLUMNS_MAX);
  }
  if (is_good && (forest->ways & MR_FOREST_WALK)) {
    // A leaf reads column 0, if there is one or not.
    const size_t words = (size_t)forest->code.word_columns * CHUNK_ROWS + 1;
    scratch->row_words = forest_allocate(words, sizeof(uint16_t), &bytes);
    is_good = scratch->row_words != NULL;
    if (is_good) memset(scratch->row_words, 0, words * sizeof(uint16_t));
  }
  if (is_good) return scratch;
  mr_forest_scratch_destroy(scratch);
  return NULL;
}

void mr_forest_scratch_destroy(mr_forest_scratch *scratch) {
  if (!scratch) return;
  free(scratch->slices);
  free(scratch->sums);
  free(scratch->row_bytes);
  free(scratch->row_words);
  free(scratch);
}

/// Sums of a chunk between [count][outputs] and [outputs][CHUNK_ROWS].
#define DEFINE_TURN(type)                                                                             \
  static void turn_##type(type *rows, type *columns, int64_t count, int64_t outputs, bool to_columns) { \
    for (int64_t o = 0; o < outputs; o++)                                                             \
      for (int64_t r = 0; r < count; r++) {                                                           \
        if (to_columns)                                                                               \
          columns[o * CHUNK_ROWS + r] = rows[r * outputs + o];                                        \
        else                                                                                          \
          rows[r * outputs + o] = columns[o * CHUNK_ROWS + r];                                        \
      }                                                                                               \
  }
DEFINE_TURN(float)
DEFINE_TURN(double)

static void turn(const mr_forest *forest, void *rows, void *columns, int64_t count, bool to_columns) {
  if (forest->summation == MR_TREE_SUM_FLOAT)
    turn_float(rows, columns, count, forest->output_count, to_columns);
  else
    turn_double(rows, columns, count, forest->output_count, to_columns);
}

/// What the set in force has for slices and codes.
typedef struct kernels {
  sliced_kernel *sliced;
  const encoder *encode;
  /// Null: none. A tree costs it so many nanoseconds.
  doubling_kernel *doubling;
  double tree_cost;
  /// What the sliced kernel wants its codes exclusive-or.
  uint8_t bias;
  /// Rows that it always does at once, and what a node costs it, in nanoseconds of a Zen 5: at all, and for each time so many rows.
  int64_t rows;
  double node_cost, rows_cost;
} kernels;

static kernels kernels_in_force(int isa) {
#if defined(__x86_64__)
  if (isa == MR_ISA_AVX512) {
    const bool has_bytes = __builtin_cpu_supports("avx512vbmi");
    return (kernels){forest_sliced_avx512, &forest_encoder_avx512, has_bytes ? forest_doubling_avx512 : forest_doubling_avx2, has_bytes ? 1.5 : 8,
                     0, 64, 0.6, 0.75};
  }
  if (isa == MR_ISA_AVX2) return (kernels){forest_sliced_avx2, &forest_encoder_avx2, forest_doubling_avx2, 8, 0x80, 128, 0, 2.9};
#elif defined(__aarch64__)
  if (isa == MR_ISA_NEON) return (kernels){forest_sliced_neon, &forest_encoder_scalar, forest_doubling_neon, 8, 0, 64, 0, 3};
#endif
  (void)isa;
  return (kernels){forest_sliced_scalar, &forest_encoder_scalar, NULL, 0, 0, 16, 0, 2};
}

static void sliced_add(kernels k, const mr_forest *forest, mr_forest_scratch *scratch, const char *rows, size_t stride, int elements,
                       int64_t count, int64_t from, int64_t to, void *sums) {
  k.encode->slices(forest, rows, stride, elements, count, k.bias, scratch->slices);
  turn(forest, sums, scratch->sums, count, true);
  k.sliced(forest, scratch->slices, count, from, to, scratch->sums);
  turn(forest, sums, scratch->sums, count, false);
}

/// Nanoseconds of a Zen 5: a level of a tree by walking.
static const double level_cost = 1;

/// Whether slices beat one row after the other.
static bool slices_win(const mr_forest *forest, const kernels *k, int64_t count, bool doubles) {
  const double nodes = (double)(forest->leaf_total - forest->tree_count), times = (double)((count + k->rows - 1) / k->rows);
  const double one = doubles ? k->tree_cost * (double)forest->tree_count : level_cost * (double)forest->level_total;
  return nodes * (k->node_cost + k->rows_cost * times) < (double)count * one;
}

void mr_forest_add(const mr_forest *forest, mr_forest_scratch *scratch, const void *rows, size_t stride, int elements, int64_t count,
                   int64_t from, int64_t to, void *sums) {
  const size_t row_sums = (size_t)forest->output_count * (forest->summation == MR_TREE_SUM_FLOAT ? sizeof(float) : sizeof(double));
  const kernels k = kernels_in_force(mr_isa());
  const bool doubles = (forest->ways & MR_FOREST_DOUBLING) && k.doubling;
  const bool walks = forest->ways & MR_FOREST_WALK;
  int64_t chunk;
  for (int64_t done = 0; done < count; done += chunk) {
    const char *chunk_rows = (const char *)rows + (size_t)done * stride;
    char *chunk_sums = (char *)sums + (size_t)done * row_sums;
    chunk = count - done < CHUNK_ROWS ? count - done : CHUNK_ROWS;
    if ((forest->ways & MR_FOREST_SLICED) && (!(doubles || walks) || slices_win(forest, &k, chunk, doubles))) {
      sliced_add(k, forest, scratch, chunk_rows, stride, elements, chunk, from, to, chunk_sums);
    } else if (doubles) {
      for (int64_t r = 0; r < chunk; r++)
        k.encode->bytes(forest, chunk_rows + (size_t)r * stride, elements, scratch->row_bytes + r * DOUBLING_COLUMNS_MAX);
      k.doubling(forest, scratch->row_bytes, chunk, from, to, chunk_sums);
    } else if (walks) {
      for (int64_t r = 0; r < chunk; r++)
        k.encode->words(forest, chunk_rows + (size_t)r * stride, elements, scratch->row_words + (size_t)r * (size_t)forest->code.word_columns);
      forest_walk_add(forest, scratch->row_words, chunk, from, to, chunk_sums);
    } else {
      forest_plain_add(forest, chunk_rows, stride, elements, chunk, from, to, chunk_sums);
    }
  }
}
