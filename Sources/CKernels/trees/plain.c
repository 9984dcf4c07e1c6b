// Hot: no allocation in `forest_plain_add`. The nodes as they came, one row and one tree at a time: the form that carries every forest.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "forest_internal.h"

static void *copied(const void *from, size_t count, size_t size, size_t *bytes) {
  const size_t total = count * size;
  void *to = malloc(total ? total : 1);
  if (to && total) memcpy(to, from, total);
  *bytes += total;
  return to;
}

bool forest_plain_pack(mr_forest *forest, const mr_forest_source *s) {
  plain_forest *p = &forest->plain;
  p->nodes = copied(s->nodes, (size_t)s->node_count, sizeof(mr_tree_node), &forest->bytes);
  p->trees = copied(s->trees, (size_t)s->tree_count, sizeof(mr_tree), &forest->bytes);
  p->category_bits = copied(s->category_bits, (size_t)s->category_word_count, sizeof(uint32_t), &forest->bytes);
  p->leaf_values = copied(s->leaf_values, (size_t)s->leaf_value_count, sizeof(double), &forest->bytes);
  return p->nodes && p->trees && p->category_bits && p->leaf_values;
}

void forest_plain_free(mr_forest *forest) {
  free(forest->plain.nodes);
  free(forest->plain.trees);
  free(forest->plain.category_bits);
  free(forest->plain.leaf_values);
}

static inline bool goes_left(const mr_tree_node *node, const uint32_t *category_bits, double x) {
  const bool is_nan = x != x;
  switch (node->missing) {
    case MR_TREE_MISSING_NOTHING:
      if (is_nan) x = 0;
      break;
    case MR_TREE_MISSING_NAN:
      if (is_nan) return node->default_left;
      break;
    case MR_TREE_MISSING_ZERO:
      if (is_nan || fabs(x) <= (double)MR_TREE_ZERO_MAX) return node->default_left;
      break;
    default: break;
  }
  switch (node->comparison) {
    case MR_TREE_LESS_OR_EQUAL: return x <= node->threshold;
    case MR_TREE_LESS: return x < node->threshold;
    case MR_TREE_GREATER_OR_EQUAL: return x >= node->threshold;
    case MR_TREE_GREATER: return x > node->threshold;
    case MR_TREE_EQUAL: return x == node->threshold;
    case MR_TREE_NOT_EQUAL: return x != node->threshold;
    default: {
      // Truncation takes what is above -1 to 0. False for a NaN.
      if (!(x > -1.0 && x < 32.0 * node->category_words)) return false;
      const uint32_t category = x > 0 ? (uint32_t)x : 0;
      return category_bits[node->category_start + (int64_t)(category >> 5)] >> (category & 31) & 1;
    }
  }
}

void forest_plain_add(const mr_forest *forest, const char *rows, size_t stride, int elements, int64_t count, int64_t from, int64_t to, void *sums) {
  const plain_forest *p = &forest->plain;
  const int64_t outputs = forest->output_count, width = forest->leaf_width;
  for (int64_t r = 0; r < count; r++) {
    const char *row = rows + (size_t)r * stride;
    for (int64_t t = from; t < to; t++) {
      const mr_tree *tree = &p->trees[t];
      const mr_tree_node *nodes = p->nodes + tree->node_start;
      int32_t at = tree->node_count ? 0 : ~0;
      while (at >= 0) {
        const mr_tree_node *node = &nodes[at];
        double x;
        if (elements == MR_TREE_ROWS_FLOAT) {
          float narrow;
          memcpy(&narrow, row + (size_t)node->feature * sizeof narrow, sizeof narrow);
          x = (double)narrow;
        } else {
          memcpy(&x, row + (size_t)node->feature * sizeof x, sizeof x);
        }
        at = goes_left(node, p->category_bits, x) ? node->left : node->right;
      }
      const double *leaf = p->leaf_values + ((int64_t)tree->leaf_start + ~at) * width;
      if (forest->summation == MR_TREE_SUM_FLOAT) {
        float *row_sums = (float *)sums + r * outputs + tree->output;
        for (int64_t o = 0; o < width; o++) row_sums[o] += (float)leaf[o];
      } else {
        double *row_sums = (double *)sums + r * outputs + tree->output;
        for (int64_t o = 0; o < width; o++) row_sums[o] += leaf[o];
      }
    }
  }
}
