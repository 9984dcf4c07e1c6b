// What the kernels of forests share; for Sources/CKernels/trees only.
#pragma once
#include <string.h>

#include "mr_trees.h"

/// Rows that sweep past the trees at once.
#define CHUNK_ROWS 256
/// Bounds of the ways; see mr_trees.h.
#define COLUMNS_MAX 65535
#define SLICED_LEAVES_MAX 256
#define SLICED_OUTPUTS_MAX 1024
#define DOUBLING_NODES_MAX 63
#define DOUBLING_COLUMNS_MAX 64
/// Thresholds that one column of bytes, or of 16-bit codes, tells apart.
#define BYTE_RANKS 255
#define WORD_RANKS 65535
/// Levels of 16 to one over 2^31 thresholds.
#define SCALE_LEVELS_MAX 9

/// The nodes as they came. Owned copies.
typedef struct plain_forest {
  mr_tree_node *nodes;
  mr_tree *trees;
  uint32_t *category_bits;
  double *leaf_values;
} plain_forest;

/// Rank coding. A node "x <= t" asks of its feature only how many of the thresholds that the forest compares it with are below x: its rank.
/// So a row's values become ranks once, and every node compares small integers. A value that is missing has rank 0 or the highest one, by
/// the side it takes: hence one scale for each feature, rule and side.
typedef struct code_scale {
  int32_t feature;
  /// NOTHING, NAN or ZERO.
  uint8_t missing;
  /// What is missing goes left.
  uint8_t missing_left;
  /// Different thresholds.
  int32_t count;
  /// The rank of what is missing, and of NaN under NOTHING, which is that of 0.
  uint32_t missing_rank;
  /// What is missing: values whose size is not above this (a NaN's is above nothing).
  double missing_most;
  /// Thresholds stand ascending in blocks of 16, filled up with infinity, of which there is at least one. Over them levels of the last ones
  /// of each block, in blocks again, up to a level of one block. Where each level begins among the forest's thresholds, the highest first.
  int32_t levels;
  int64_t level[SCALE_LEVELS_MAX];
  /// The first of ceil(count / 255) byte columns; of ceil(count / 65535) word columns. Column w of a scale holds
  /// min(max(rank - w * 255, 0), 255).
  int32_t byte_column, word_column;
} code_scale;

/// A node that no threshold can say: a column of its own, 0 (left) or 1 (right).
enum { PREDICATE_EQUAL = 0, PREDICATE_MEMBER = 1, PREDICATE_NEVER = 2 };
typedef struct code_predicate {
  int32_t feature;
  uint8_t missing, missing_left, kind;
  double value;
  /// Words of `category_bits`.
  int64_t category_start;
  int32_t category_words;
} code_predicate;

/// Membership predicates of one feature, missing rule and side: their codes for a row are one row of a table, by the row's category.
typedef struct code_group {
  int32_t feature;
  uint8_t missing, missing_left;
  /// Predicates `first` ..< `first + count`.
  int32_t first, count;
  /// Rows of the table: one for each category, then what is none of them, then what is missing. Each takes `count` bytes, filled up to 8.
  int32_t categories;
  int64_t table, stride;
} code_group;

/// Larger tables than this, in bytes, are not made, nor more of them in a forest: such predicates are asked one by one.
#define GROUP_TABLE_MAX ((int64_t)4 << 20)
#define GROUP_TABLES_MAX ((int64_t)64 << 20)

typedef struct forest_code {
  code_scale *scales;
  /// Thresholds for rows of doubles; for rows of floats the largest float that is not above each: every float compares the same.
  double *wide;
  float *narrow;
  int64_t threshold_count;
  /// Those of groups first.
  code_predicate *predicates;
  uint32_t *category_bits;
  code_group *groups;
  uint8_t *group_tables;
  int32_t scale_count, predicate_count, group_count, grouped_count;
  /// Columns of scales, then one for each predicate.
  int64_t byte_columns, word_columns;
} forest_code;

/// A node in code: right when the column's code is not below `rank` (1...), left otherwise.
typedef struct coded_node {
  /// The scale; or ~predicate.
  int32_t scale;
  /// Of its threshold, in its scale, from 0.
  int32_t rank;
  int32_t left, right;
} coded_node;

/// Leaves for the packed ways: floats when every value survives that within 2^-24 of itself, else doubles.
typedef struct packed_leaves {
  float *narrow;
  double *wide;
} packed_leaves;

/// One node of the sliced way, in the order of its right-to-left sweep.
typedef struct sliced_node {
  /// Where its column begins among the codes of a chunk.
  uint32_t codes;
  uint8_t rank;
  /// The leaf just left of its split.
  uint8_t leaf;
  /// Which mask says who has come here; who goes left is written to the one after it.
  uint8_t mask;
  uint8_t unused;
} sliced_node;

/// One tree as packed. Its leaves stand in their order from left to right.
typedef struct packed_tree {
  /// Of the sliced way.
  int64_t node_start;
  /// In leaves.
  int64_t leaf_start;
  int32_t node_count, output;
} packed_tree;

typedef struct sliced_forest {
  sliced_node *nodes;
} sliced_forest;

/// A tree of the doubling way: for each node its column and rank, and the node that each side leads to: itself, where a leaf comes next.
typedef struct doubling_tree {
  uint8_t columns[64], ranks[64], left[64], right[64];
} doubling_tree;

typedef struct doubling_forest {
  doubling_tree *trees;
  /// Nodes on the deepest path of each tree, and doublings that it needs.
  uint8_t *levels, *steps;
} doubling_forest;

/// One node of the walk: from it to `child`, or the node after that when the column's code is not below `rank`. Rank 0: a leaf, and `child`
/// is its number among all leaves, or the bits of its value.
typedef struct walk_node {
  uint16_t column, rank;
  uint32_t child;
} walk_node;

typedef struct walk_forest {
  walk_node *nodes;
  uint32_t *roots;
  bool holds_values;
} walk_forest;

/// Nodes that the walk may need: two for each, the roots, and what lines are filled up with.
static inline size_t forest_walk_slots_max(const mr_forest_source *s) { return 4 * (size_t)s->node_count + (size_t)s->tree_count + 8; }

struct mr_forest {
  int32_t feature_count, output_count, leaf_width, summation;
  int64_t tree_count;
  /// Leaves as packed, and levels of all trees were they balanced: how much work a row is.
  int64_t leaf_total, level_total;
  int ways;
  size_t bytes;
  /// See mr_forest_accumulate; 0: no step.
  double accumulator_step;
  plain_forest plain;
  forest_code code;
  packed_leaves leaves;
  /// For each tree the first of its leaves as packed, and its output.
  packed_tree *trees;
  sliced_forest sliced;
  doubling_forest doubling;
  walk_forest walk;
};

struct mr_forest_scratch {
  const mr_forest *forest;
  /// [byte_columns][CHUNK_ROWS]
  uint8_t *slices;
  /// [output_count][CHUNK_ROWS] sums: floats or doubles.
  void *sums;
  /// [CHUNK_ROWS][DOUBLING_COLUMNS_MAX]
  uint8_t *row_bytes;
  /// [CHUNK_ROWS][word_columns]
  uint16_t *row_words;
};

/// The step for sums that are never beyond `greatest`.
double forest_accumulator_step(double greatest);

bool forest_plain_pack(mr_forest *forest, const mr_forest_source *source);
void forest_plain_free(mr_forest *forest);
void forest_plain_add(const mr_forest *forest, const char *rows, size_t stride, int elements, int64_t count, int64_t from, int64_t to, void *sums);

/// Scales, predicates, and every node in code (`coded`: room for node_count). False: memory is out, or `problem` says which rank is wrong.
bool forest_code_pack(mr_forest *forest, const mr_forest_source *source, coded_node *coded, mr_forest_problem *problem);
void forest_code_free(mr_forest *forest);
/// Puts membership predicates into groups, and moves nodes' predicates along. False: memory is out.
bool forest_groups_pack(mr_forest *forest, int64_t node_count, coded_node *coded);
/// How rows become codes.
typedef struct encoder {
  /// At most CHUNK_ROWS rows as slices, [byte_columns][CHUNK_ROWS], each code exclusive-or `bias`. What stands behind row `count` stays.
  void (*slices)(const mr_forest *forest, const char *rows, size_t stride, int elements, int64_t count, uint8_t bias, uint8_t *slices);
  /// One row, as bytes or as words.
  void (*bytes)(const mr_forest *forest, const char *row, int elements, uint8_t *codes);
  void (*words)(const mr_forest *forest, const char *row, int elements, uint16_t *codes);
} encoder;
extern const encoder forest_encoder_scalar;
#if defined(__x86_64__)
extern const encoder forest_encoder_avx2;
extern const encoder forest_encoder_avx512;
#endif

static inline void byte_code(const forest_code *code, const coded_node *node, uint32_t *column, uint8_t *rank) {
  if (node->scale < 0) {
    *column = (uint32_t)(code->byte_columns - code->predicate_count + ~node->scale);
    *rank = 1;
  } else {
    *column = (uint32_t)(code->scales[node->scale].byte_column + node->rank / BYTE_RANKS);
    *rank = (uint8_t)(node->rank % BYTE_RANKS + 1);
  }
}

static inline void word_code(const forest_code *code, const coded_node *node, uint32_t *column, uint16_t *rank) {
  if (node->scale < 0) {
    *column = (uint32_t)(code->word_columns - code->predicate_count + ~node->scale);
    *rank = 1;
  } else {
    *column = (uint32_t)(code->scales[node->scale].word_column + node->rank / WORD_RANKS);
    *rank = (uint16_t)(node->rank % WORD_RANKS + 1);
  }
}

/// Each packs all trees. False: memory is out.
bool forest_leaves_pack(mr_forest *forest, const mr_forest_source *source, const coded_node *coded);
bool forest_sliced_pack(mr_forest *forest, const mr_forest_source *source, const coded_node *coded);
bool forest_doubling_pack(mr_forest *forest, const mr_forest_source *source, const coded_node *coded);
bool forest_walk_pack(mr_forest *forest, const mr_forest_source *source, const coded_node *coded);
void forest_sliced_free(mr_forest *forest);
void forest_doubling_free(mr_forest *forest);
void forest_walk_free(mr_forest *forest);

/// Adds trees for at most CHUNK_ROWS rows that stand in `slices`. `sums`: [output_count][CHUNK_ROWS].
typedef void sliced_kernel(const mr_forest *forest, const uint8_t *slices, int64_t count, int64_t from, int64_t to, void *sums);
sliced_kernel forest_sliced_scalar;
#if defined(__x86_64__)
sliced_kernel forest_sliced_avx2;
sliced_kernel forest_sliced_avx512;
#elif defined(__aarch64__)
sliced_kernel forest_sliced_neon;
#endif
/// Leaves of `count` rows (`indices`, from the tree's first) to the sums of their outputs.
void forest_sliced_add_leaves(const mr_forest *forest, const packed_tree *tree, const uint8_t *indices, int64_t count, void *sums);

/// Adds trees for rows one after the other. `codes`: [count][DOUBLING_COLUMNS_MAX], aligned to 64. `sums`: [count][output_count].
typedef void doubling_kernel(const mr_forest *forest, const uint8_t *codes, int64_t count, int64_t from, int64_t to, void *sums);
#if defined(__x86_64__)
doubling_kernel forest_doubling_avx2;
/// Needs VBMI too.
doubling_kernel forest_doubling_avx512;
#elif defined(__aarch64__)
doubling_kernel forest_doubling_neon;
#endif
/// Rows' words: [count][word_columns]. `sums`: [count][output_count].
void forest_walk_add(const mr_forest *forest, const uint16_t *words, int64_t count, int64_t from, int64_t to, void *sums);

/// Adds one leaf to one row's sums.
static inline void add_leaf(const mr_forest *forest, int64_t leaf, int32_t output, void *sums) {
  const int64_t width = forest->leaf_width, at = leaf * width;
  if (forest->summation == MR_TREE_SUM_FLOAT) {
    float *to = (float *)sums + output;
    for (int64_t o = 0; o < width; o++) to[o] += forest->leaves.narrow[at + o];
  } else {
    double *to = (double *)sums + output;
    if (forest->leaves.narrow)
      for (int64_t o = 0; o < width; o++) to[o] += (double)forest->leaves.narrow[at + o];
    else
      for (int64_t o = 0; o < width; o++) to[o] += forest->leaves.wide[at + o];
  }
}

/// Memory aligned to 64 bytes, counted in `bytes`, with 64 bytes more that may be read. Null when memory is out.
void *forest_allocate(size_t count, size_t size, size_t *bytes);
