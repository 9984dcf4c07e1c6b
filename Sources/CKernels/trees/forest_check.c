#include <stdlib.h>
#include <string.h>

#include "mr_trees.h"

static bool refuse(mr_forest_problem *problem, const char *reason, int64_t tree, int64_t node) {
  *problem = (mr_forest_problem){reason, tree, node};
  return false;
}

/// The nodes of one tree. `parents`, `leaf_parents`: room for one byte a node and a leaf, all zero; zero again afterwards when all is well.
static bool check_nodes(const mr_forest_source *s, int64_t index, uint8_t *parents, uint8_t *leaf_parents, mr_forest_problem *problem) {
  const mr_tree tree = s->trees[index];
  const mr_tree_node *nodes = s->nodes + tree.node_start;
  const int32_t node_count = tree.node_count, leaf_count = tree.leaf_count;
  for (int32_t n = 0; n < node_count; n++) {
    const mr_tree_node node = nodes[n];
    if ((uint32_t)node.feature >= (uint32_t)s->feature_count) return refuse(problem, "a feature that the forest does not have", index, n);
    if (node.comparison < MR_TREE_LESS_OR_EQUAL || node.comparison > MR_TREE_MEMBER) return refuse(problem, "an unknown comparison", index, n);
    if (node.missing > MR_TREE_MISSING_COMPARED) return refuse(problem, "an unknown rule for missing values", index, n);
    if (node.default_left > 1) return refuse(problem, "a default side that is neither", index, n);
    if (node.comparison == MR_TREE_MEMBER &&
        (node.category_start < 0 || node.category_words < 0 || (int64_t)node.category_start + node.category_words > s->category_word_count))
      return refuse(problem, "categories beyond the forest's", index, n);
    const int32_t children[2] = {node.left, node.right};
    for (int side = 0; side < 2; side++) {
      const int32_t child = children[side];
      if (child >= 0) {
        if (child >= node_count) return refuse(problem, "a child that is no node of its tree", index, n);
        if (child == 0) return refuse(problem, "a child that is the root of its tree", index, n);
        // No root below a node and no node below two: from the root on, nothing comes back.
        if (parents[child]) return refuse(problem, "a child that is another node's too", index, n);
        parents[child] = 1;
      } else {
        if (~child >= leaf_count) return refuse(problem, "a leaf that its tree does not have", index, n);
        // Packing copies leaves: shared ones would grow without bound.
        if (leaf_parents[~child]) return refuse(problem, "a leaf that is another node's too", index, n);
        leaf_parents[~child] = 1;
      }
    }
  }
  memset(parents, 0, (size_t)node_count);
  memset(leaf_parents, 0, (size_t)leaf_count);
  return true;
}

bool mr_forest_check(const mr_forest_source *s, mr_forest_problem *problem) {
  if (s->feature_count < 0) return refuse(problem, "a negative number of features", -1, -1);
  if (s->output_count < 1) return refuse(problem, "no output", -1, -1);
  if (s->leaf_width != 1 && s->leaf_width != s->output_count) return refuse(problem, "leaves neither of one value nor of all outputs", -1, -1);
  if (s->summation != MR_TREE_SUM_FLOAT && s->summation != MR_TREE_SUM_DOUBLE) return refuse(problem, "an unknown summation", -1, -1);
  if (s->node_count < 0 || s->tree_count < 0 || s->category_word_count < 0 || s->leaf_value_count < 0)
    return refuse(problem, "a negative count", -1, -1);
  int32_t largest = 0, most_leaves = 0;
  int64_t node_end = 0, leaf_end = 0;
  const int64_t leaf_count = s->leaf_value_count / s->leaf_width;
  for (int64_t t = 0; t < s->tree_count; t++) {
    const mr_tree tree = s->trees[t];
    if (tree.node_start < 0 || tree.node_count < 0 || (int64_t)tree.node_start + tree.node_count > s->node_count)
      return refuse(problem, "nodes beyond the forest's", t, -1);
    if (tree.leaf_start < 0 || tree.leaf_count < 1 || (int64_t)tree.leaf_start + tree.leaf_count > leaf_count)
      return refuse(problem, "leaves beyond the forest's, or none", t, -1);
    if (tree.output < 0 || tree.output >= s->output_count) return refuse(problem, "an output that the forest does not have", t, -1);
    if (s->leaf_width != 1 && tree.output != 0) return refuse(problem, "an output of its own where leaves have all outputs", t, -1);
    if (tree.node_start < node_end || tree.leaf_start < leaf_end) return refuse(problem, "nodes or leaves of the trees before", t, -1);
    // Packing goes over all nodes, so each must be one that was checked.
    if (tree.node_start > node_end) return refuse(problem, "nodes before it that are of no tree", t, -1);
    node_end = (int64_t)tree.node_start + tree.node_count;
    leaf_end = (int64_t)tree.leaf_start + tree.leaf_count;
    if (tree.node_count > largest) largest = tree.node_count;
    if (tree.leaf_count > most_leaves) most_leaves = tree.leaf_count;
  }
  if (node_end != s->node_count) return refuse(problem, "nodes behind the last tree's that are of no tree", -1, -1);
  uint8_t *parents = calloc((size_t)largest + 1, 1), *leaf_parents = calloc((size_t)most_leaves + 1, 1);
  bool is_good = (parents && leaf_parents) || refuse(problem, "memory is out", -1, -1);
  for (int64_t t = 0; is_good && t < s->tree_count; t++) is_good = check_nodes(s, t, parents, leaf_parents, problem);
  free(parents);
  free(leaf_parents);
  return is_good;
}
