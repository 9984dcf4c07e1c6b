// Membership predicates in groups: forests with categorical splits have thousands of sets, and few features that they ask. See `code_group`.
#include <stdlib.h>

#include "forest_internal.h"

/// Groups stand together, and before what is no membership.
static int compare(const void *a, const void *b) {
  const code_predicate *p = *(const code_predicate *const *)a, *q = *(const code_predicate *const *)b;
  const int member = (p->kind != PREDICATE_MEMBER) - (q->kind != PREDICATE_MEMBER);
  if (member) return member;
  if (p->feature != q->feature) return p->feature < q->feature ? -1 : 1;
  if (p->missing != q->missing) return p->missing < q->missing ? -1 : 1;
  if (p->missing_left != q->missing_left) return p->missing_left < q->missing_left ? -1 : 1;
  return p < q ? -1 : p > q;
}

static bool is_same_group(const code_predicate *p, const code_predicate *q) {
  return q->kind == PREDICATE_MEMBER && p->feature == q->feature && p->missing == q->missing && p->missing_left == q->missing_left;
}

/// Which predicates are groups: a table must not be too large. Others move behind them.
static bool find_groups(forest_code *code, code_predicate **sorted, code_predicate **others, size_t *table_bytes) {
  int32_t grouped = 0, left = 0;
  code->groups = malloc(((size_t)code->predicate_count + 1) * sizeof *code->groups);
  if (!code->groups) return false;
  *table_bytes = 0;
  for (int32_t begin = 0, end; begin < code->predicate_count; begin = end) {
    const code_predicate *first = sorted[begin];
    int64_t words = first->category_words;
    for (end = begin + 1; end < code->predicate_count && first->kind == PREDICATE_MEMBER && is_same_group(first, sorted[end]); end++)
      if (sorted[end]->category_words > words) words = sorted[end]->category_words;
    const int64_t stride = ((int64_t)(end - begin) + 7) / 8 * 8;
    if (first->kind != PREDICATE_MEMBER || words > GROUP_TABLE_MAX / 32 || (words * 32 + 2) * stride > GROUP_TABLE_MAX ||
        (int64_t)*table_bytes > GROUP_TABLES_MAX) {
      for (int32_t p = begin; p < end; p++) others[left++] = sorted[p];
      continue;
    }
    code->groups[code->group_count++] = (code_group){
        .feature = first->feature,
        .missing = first->missing,
        .missing_left = first->missing_left,
        .first = grouped,
        .count = end - begin,
        .categories = (int32_t)(words * 32),
        .table = (int64_t)*table_bytes,
        .stride = stride,
    };
    *table_bytes += (size_t)((words * 32 + 2) * stride);
    for (int32_t p = begin; p < end; p++) sorted[grouped++] = sorted[p];
  }
  code->grouped_count = grouped;
  memcpy(sorted + grouped, others, (size_t)left * sizeof *sorted);
  return true;
}

static void fill_table(const forest_code *code, const code_group *group, code_predicate *const *predicates) {
  uint8_t *table = code->group_tables + group->table;
  memset(table, 1, (size_t)((group->categories + 2) * group->stride));
  for (int32_t p = 0; p < group->count; p++) {
    const code_predicate *predicate = predicates[group->first + p];
    const uint32_t *bits = code->category_bits + predicate->category_start;
    for (int64_t c = 0; c < 32 * (int64_t)predicate->category_words; c++)
      if (bits[c >> 5] >> (c & 31) & 1) table[c * group->stride + p] = 0;
    table[(group->categories + 1) * group->stride + p] = !group->missing_left;
  }
}

bool forest_groups_pack(mr_forest *forest, int64_t node_count, coded_node *coded) {
  forest_code *code = &forest->code;
  const size_t count = (size_t)code->predicate_count;
  code_predicate **sorted = malloc((count + 1) * sizeof *sorted), **others = malloc((count + 1) * sizeof *others);
  code_predicate *moved = malloc((count + 1) * sizeof *moved);
  int32_t *places = malloc((count + 1) * sizeof *places);
  bool is_good = sorted && others && moved && places;
  if (is_good) {
    size_t table_bytes = 0;
    for (size_t p = 0; p < count; p++) sorted[p] = &code->predicates[p];
    qsort(sorted, count, sizeof *sorted, compare);
    is_good = find_groups(code, sorted, others, &table_bytes);
    if (is_good) code->group_tables = forest_allocate(table_bytes, 1, &forest->bytes);
    is_good = is_good && code->group_tables;
  }
  if (is_good) {
    for (int32_t g = 0; g < code->group_count; g++) fill_table(code, &code->groups[g], sorted);
    for (size_t p = 0; p < count; p++) {
      moved[p] = *sorted[p];
      places[sorted[p] - code->predicates] = (int32_t)p;
    }
    memcpy(code->predicates, moved, count * sizeof *moved);
    for (int64_t i = 0; i < node_count; i++)
      if (coded[i].scale < 0) coded[i].scale = ~places[~coded[i].scale];
  }
  free(sorted);
  free(others);
  free(moved);
  free(places);
  return is_good;
}
