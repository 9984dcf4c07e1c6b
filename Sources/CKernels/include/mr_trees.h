// Forests of decision trees: what importers and bundles hold, packed once, then scored without allocation.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// When a value goes to the left child. Raw values of Families' TreeEnsemble.Comparison.
enum {
  MR_TREE_LESS_OR_EQUAL = 1,
  MR_TREE_LESS = 2,
  MR_TREE_GREATER_OR_EQUAL = 3,
  MR_TREE_GREATER = 4,
  MR_TREE_EQUAL = 5,
  MR_TREE_NOT_EQUAL = 6,
  /// The value, truncated to a whole number, is one of the node's categories.
  MR_TREE_MEMBER = 7
};

/// What takes a node's default side. Raw values of TreeEnsemble.Missing.
enum {
  /// Nothing: a NaN is read as 0.
  MR_TREE_MISSING_NOTHING = 0,
  MR_TREE_MISSING_NAN = 1,
  /// NaN, and what is within MR_TREE_ZERO_MAX of 0.
  MR_TREE_MISSING_ZERO = 2,
  /// Nothing: a NaN is compared as IEEE says.
  MR_TREE_MISSING_COMPARED = 3
};

/// LightGBM's kZeroThreshold: a float.
#define MR_TREE_ZERO_MAX 1e-35f

/// Raw values of TreeEnsemble.Summation.
enum { MR_TREE_SUM_FLOAT = 1, MR_TREE_SUM_DOUBLE = 2 };

/// The elements of rows.
enum { MR_TREE_ROWS_FLOAT = 1, MR_TREE_ROWS_DOUBLE = 2 };

/// One node, as bundles hold it (little-endian, 32 bytes). Children: 0 and above: a node of the same tree; below 0: leaf `~child` of it.
typedef struct mr_tree_node {
  int32_t feature;
  uint8_t comparison, missing, default_left, reserved;
  double threshold;
  /// Of MR_TREE_MEMBER: words of the forest's category bits.
  int32_t category_start, category_words;
  int32_t left, right;
} mr_tree_node;

/// One tree, as bundles hold it. A tree without nodes is its one leaf. Leaves are counted in leaves, not in values.
typedef struct mr_tree {
  int32_t node_start, node_count, leaf_start, leaf_count;
  /// The output that a leaf's value is added to, when leaves have one value.
  int32_t output;
} mr_tree;

/// A forest, borrowed. `leaf_values`: `leaf_width` for each leaf; leaf_width is 1, or output_count (the leaf adds to every output).
typedef struct mr_forest_source {
  int32_t feature_count, output_count, leaf_width, summation;
  const mr_tree_node *nodes;
  const mr_tree *trees;
  const uint32_t *category_bits;
  const double *leaf_values;
  int64_t node_count, tree_count, category_word_count, leaf_value_count;
  /// Null, or what `mr_forest_rank` found for each node: then nothing needs to be sorted. Checked.
  const uint32_t *ranks;
} mr_forest_source;

/// What is wrong with a forest. `reason` is a constant; -1 where there is no tree or node to name.
typedef struct mr_forest_problem {
  const char *reason;
  int64_t tree, node;
} mr_forest_problem;

/// Every index in range, trees one after the other, every node and leaf reached from at most one place and the root from none: so walks end,
/// and what is packed is no larger than what came. Linear, one byte of memory a node and leaf of the largest tree. False: `problem`
/// says what and where.
bool mr_forest_check(const mr_forest_source *source, mr_forest_problem *problem);

/// Ways of scoring. All give the same sums (`double` summation: up to the order of adds).
enum {
  /// The nodes as they are, one row and one tree at a time.
  MR_FOREST_PLAIN = 1,
  /// Rank-coded rows, 64 (32, 16) of them a vector, every node of a tree of at most 256 leaves evaluated.
  MR_FOREST_SLICED = 2,
  /// Rank-coded row, all nodes of a tree of at most 64 leaves decided at once, the path by pointer doubling. Not in plain C.
  MR_FOREST_DOUBLING = 4,
  /// Rank-coded row, several trees or rows in flight.
  MR_FOREST_WALK = 8,
  /// Whatever is best for the forest and the processor.
  MR_FOREST_BEST = 0
};

/// A packed forest. Immutable: any thread scores with it.
typedef struct mr_forest mr_forest;
/// What one thread needs to score with one forest.
typedef struct mr_forest_scratch mr_forest_scratch;

/// Checks and packs; nothing of `source` is held afterwards. `ways`: which to pack for. Those that cannot carry the forest are left out, and
/// `MR_FOREST_PLAIN` steps in when none is left. Null: `problem` says why.
mr_forest *mr_forest_create(const mr_forest_source *source, int ways, mr_forest_problem *problem);
void mr_forest_destroy(mr_forest *forest);
/// The place of each node's threshold among those of its feature: a bundle keeps them, so that loading sorts nothing. Any `ranks` in
/// `source` are not looked at. `ranks`: room for node_count. False: `problem` says why.
bool mr_forest_rank(const mr_forest_source *source, uint32_t *ranks, mr_forest_problem *problem);
/// The ways that it is packed for.
int mr_forest_ways(const mr_forest *forest);
/// Memory that it holds.
size_t mr_forest_bytes(const mr_forest *forest);

/// Null when memory is out. The forest must outlive it.
mr_forest_scratch *mr_forest_scratch_create(const mr_forest *forest);
void mr_forest_scratch_destroy(mr_forest_scratch *scratch);

/// Adds trees `from` ..< `to` of the forest, for each of `count` rows, to `sums` ([count, output_count]: floats or doubles, as the forest's
/// summation says; float sums are added to in the order of trees). Rows: `feature_count` floats or doubles (`elements`), `stride` bytes
/// apart, of any alignment. Hot: no allocation.
void mr_forest_add(const mr_forest *forest, mr_forest_scratch *scratch, const void *rows, size_t stride, int elements, int64_t count,
                   int64_t from, int64_t to, void *sums);

/// From sums to answers. Raw values of TreeEnsemble.Link.
enum {
  MR_TREE_LINK_IDENTITY = 0,
  MR_TREE_LINK_SIGMOID = 1,
  MR_TREE_LINK_SOFTMAX = 2,
  MR_TREE_LINK_EXPONENTIAL = 3,
  MR_TREE_LINK_SIGMOID_EACH = 4,
  MR_TREE_LINK_SIGNED_SQUARE = 5,
  MR_TREE_LINK_SOFTPLUS = 6,
  MR_TREE_LINK_STEP = 7,
  MR_TREE_LINK_ARGMAX = 8,
  MR_TREE_LINK_PROBIT = 9,
  MR_TREE_LINK_SOFTMAX_ZERO = 10
};

/// In place on [count, outputs] doubles. MR_TREE_LINK_ARGMAX writes [count, 1].
void mr_tree_link(int link, double scale, double *values, int64_t count, int64_t outputs);

/// How sums become answers: with `double` summation, or a divisor other than 1: sum / divisor + base, then the link; otherwise the base is
/// what sums began with, and is not added again.
typedef struct mr_forest_answer {
  int link;
  double scale, divisor;
  /// output_count of them.
  const double *base;
} mr_forest_answer;

/// What each row's sums begin with before `mr_forest_add`. `answer` null: 0, for trees that are not the first.
void mr_forest_begin(const mr_forest *forest, const mr_forest_answer *answer, int64_t count, void *sums);
/// From sums to answers: [count, output_count] (argmax: [count, 1]) floats or doubles (`elements`, as for rows). `values`: room for
/// output_count doubles.
void mr_forest_finish(const mr_forest *forest, const mr_forest_answer *answer, const void *sums, int64_t count, double *values, int elements,
                      void *answers);

/// Floats of one row's accumulator: a float for each sum, or two for sums in double.
int32_t mr_forest_accumulator_width(const mr_forest *forest);
/// Adds sums to accumulators ([count, accumulator width]). A double is cut in two: a multiple of a step that depends on the whole forest, so
/// that any adds of such parts are exact, and the rest.
void mr_forest_accumulate(const mr_forest *forest, const void *sums, int64_t count, float *accumulators);
/// The way back.
void mr_forest_gather(const mr_forest *forest, const float *accumulators, int64_t count, void *sums);
