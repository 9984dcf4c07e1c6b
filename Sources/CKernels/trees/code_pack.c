// Rank coding of a forest: every comparison becomes "code of a column >= rank". See `code_scale`.
#include <math.h>
#include <stdlib.h>

#include "forest_internal.h"

/// A node, with sides exchanged where that makes it "x <= threshold".
typedef struct normal_node {
  double threshold;
  /// A PREDICATE_…, or -1.
  int8_t predicate;
  /// NOTHING, NAN or ZERO.
  uint8_t missing;
  bool missing_left, is_swapped;
} normal_node;

static normal_node normalise(const mr_tree_node *node) {
  normal_node n = {node->threshold, -1, node->missing, node->default_left, false};
  if (node->missing == MR_TREE_MISSING_COMPARED) {
    // A NaN is unequal to everything, and nothing else.
    n.missing = MR_TREE_MISSING_NAN;
    n.missing_left = node->comparison == MR_TREE_NOT_EQUAL;
  }
  bool is_less = false;
  switch (node->comparison) {
    case MR_TREE_LESS_OR_EQUAL: break;
    case MR_TREE_LESS: is_less = true; break;
    case MR_TREE_GREATER_OR_EQUAL: is_less = n.is_swapped = true; break;
    case MR_TREE_GREATER: n.is_swapped = true; break;
    case MR_TREE_EQUAL: n.predicate = PREDICATE_EQUAL; break;
    case MR_TREE_NOT_EQUAL:
      n.predicate = PREDICATE_EQUAL;
      n.is_swapped = true;
      break;
    default: n.predicate = PREDICATE_MEMBER; break;
  }
  if (n.predicate < 0) {
    if (node->threshold != node->threshold) {
      // Compares false whatever the value: the right side of the node as it came.
      n.is_swapped = false;
      n.predicate = PREDICATE_NEVER;
    } else if (is_less) {
      if (n.threshold == -INFINITY)
        n.predicate = PREDICATE_NEVER;
      else
        n.threshold = nextafter(n.threshold, -INFINITY);
    }
  }
  if (n.is_swapped) n.missing_left = !n.missing_left;
  if (n.missing == MR_TREE_MISSING_NOTHING) n.missing_left = false;
  // -0 and 0 are one threshold.
  n.threshold += 0.0;
  return n;
}

/// The largest float that is not above `t`.
static float floored(double t) {
  const float f = (float)t;
  return (double)f > t ? nextafterf(f, -INFINITY) : f;
}

typedef struct entry {
  /// The threshold's bits, such that they ascend as it does.
  uint64_t key;
  int64_t node;
} entry;

static uint64_t ascending(double t) {
  uint64_t bits;
  memcpy(&bits, &t, sizeof bits);
  return bits ^ (bits >> 63 ? ~UINT64_C(0) : UINT64_C(1) << 63);
}

static double descending(uint64_t key) {
  const uint64_t bits = key ^ (key >> 63 ? UINT64_C(1) << 63 : ~UINT64_C(0));
  double t;
  memcpy(&t, &bits, sizeof t);
  return t;
}

/// Sorts by key; `spare`: as much room again. Byte by byte, the lowest first; bytes that all keys share are passed over.
static void sort_entries(entry *entries, entry *spare, int64_t count) {
  if (count <= 32) {
    for (int64_t i = 1; i < count; i++) {
      const entry e = entries[i];
      int64_t j = i;
      for (; j > 0 && entries[j - 1].key > e.key; j--) entries[j] = entries[j - 1];
      entries[j] = e;
    }
    return;
  }
  entry *from = entries, *to = spare;
  for (int shift = 0; shift < 64; shift += 8) {
    int64_t starts[257] = {0};
    for (int64_t i = 0; i < count; i++) starts[(from[i].key >> shift & 255) + 1]++;
    if (starts[(from[0].key >> shift & 255) + 1] == count) continue;
    for (int b = 0; b < 256; b++) starts[b + 1] += starts[b];
    for (int64_t i = 0; i < count; i++) to[starts[from[i].key >> shift & 255]++] = from[i];
    entry *other = from;
    from = to;
    to = other;
  }
  if (from != entries) memcpy(entries, from, (size_t)count * sizeof(entry));
}

static uint64_t predicate_hash(const mr_forest_source *s, const mr_tree_node *node, const normal_node *n) {
  uint64_t h = (uint64_t)node->feature * 31 + (uint64_t)n->predicate * 7 + n->missing * 3 + n->missing_left;
  uint64_t bits = 0;
  if (n->predicate == PREDICATE_EQUAL) memcpy(&bits, &n->threshold, sizeof bits);
  h = (h ^ bits) * UINT64_C(0x9E3779B97F4A7C15);
  if (n->predicate == PREDICATE_MEMBER)
    for (int32_t w = 0; w < node->category_words; w++) h = (h ^ s->category_bits[node->category_start + w]) * UINT64_C(0x9E3779B97F4A7C15);
  return h ^ h >> 29;
}

static bool predicate_matches(const mr_forest_source *s, const code_predicate *p, const mr_tree_node *node, const normal_node *n) {
  if (p->feature != node->feature || p->kind != n->predicate || p->missing != n->missing || p->missing_left != n->missing_left) return false;
  if (p->kind == PREDICATE_EQUAL) return memcmp(&p->value, &n->threshold, sizeof p->value) == 0;
  if (p->kind == PREDICATE_NEVER) return true;
  return p->category_words == node->category_words &&
         memcmp(s->category_bits + p->category_start, s->category_bits + node->category_start, sizeof(uint32_t) * (size_t)p->category_words) == 0;
}

/// Gives every node that is a predicate its own: equal ones share it.
static bool pack_predicates(mr_forest *forest, const mr_forest_source *s, coded_node *coded, int64_t predicate_nodes) {
  forest_code *code = &forest->code;
  size_t slots = 16;
  while (slots < (size_t)predicate_nodes * 2) slots *= 2;
  int32_t *table = malloc(slots * sizeof *table);
  code->predicates = forest_allocate((size_t)predicate_nodes, sizeof *code->predicates, &forest->bytes);
  code->category_bits = forest_allocate((size_t)s->category_word_count, sizeof(uint32_t), &forest->bytes);
  if (!table || !code->predicates || !code->category_bits) {
    free(table);
    return false;
  }
  memset(table, -1, slots * sizeof *table);
  if (s->category_word_count) memcpy(code->category_bits, s->category_bits, (size_t)s->category_word_count * sizeof(uint32_t));
  for (int64_t i = 0; i < s->node_count; i++) {
    const mr_tree_node *node = &s->nodes[i];
    const normal_node n = normalise(node);
    if (n.predicate < 0) continue;
    size_t slot = predicate_hash(s, node, &n) & (slots - 1);
    while (table[slot] >= 0 && !predicate_matches(s, &code->predicates[table[slot]], node, &n)) slot = (slot + 1) & (slots - 1);
    if (table[slot] < 0) {
      table[slot] = code->predicate_count;
      code->predicates[code->predicate_count++] = (code_predicate){
          .feature = node->feature,
          .missing = n.missing,
          .missing_left = n.missing_left,
          .kind = (uint8_t)n.predicate,
          .value = n.threshold,
          .category_start = n.predicate == PREDICATE_MEMBER ? node->category_start : 0,
          .category_words = n.predicate == PREDICATE_MEMBER ? node->category_words : 0,
      };
    }
    coded[i].scale = ~table[slot];
  }
  free(table);
  return true;
}

/// Places of a scale's levels, from `start` on. Returns where they end.
static int64_t place_levels(code_scale *scale, int64_t start) {
  int64_t sizes[SCALE_LEVELS_MAX];
  scale->levels = 0;
  for (int64_t size = scale->count;;) {
    size = (size / 16 + 1) * 16;
    sizes[scale->levels++] = size;
    if (size == 16) break;
    // The last of each block; the last of these is infinite, so no more is needed.
    size = size / 16 - 1;
  }
  for (int32_t l = 0; l < scale->levels; l++) {
    scale->level[l] = start;
    start += sizes[scale->levels - 1 - l];
  }
  return start;
}

/// Fills the levels of a scale, whose thresholds stand in `sorted`, up to `end`.
static void fill_levels(forest_code *code, const code_scale *scale, const double *sorted, int64_t end) {
  const int32_t lowest = scale->levels - 1;
  for (int64_t i = scale->level[lowest], at = 0; i < end; i++, at++) {
    code->wide[i] = at < scale->count ? sorted[at] : INFINITY;
    code->narrow[i] = at < scale->count ? floored(sorted[at]) : INFINITY;
  }
  for (int32_t l = lowest - 1; l >= 0; l--) {
    const int64_t below = scale->level[l + 1], below_end = l + 1 == lowest ? end : scale->level[l + 2];
    for (int64_t i = scale->level[l], last = below + 15; i < below; i++, last += 16) {
      code->wide[i] = last < below_end ? code->wide[last] : INFINITY;
      code->narrow[i] = last < below_end ? code->narrow[last] : INFINITY;
    }
  }
}

static uint32_t rank_of_zero(const double *sorted, int32_t count) {
  uint32_t rank = 0;
  while ((int32_t)rank < count && sorted[rank] < 0) rank++;
  return rank;
}

/// Thresholds of each scale, sorted, each once; and every node's place among them.
static bool pack_thresholds(mr_forest *forest, coded_node *coded, const entry *unsorted, int64_t count) {
  forest_code *code = &forest->code;
  entry *entries = malloc(((size_t)count * 2 + 1) * sizeof *entries);
  double *sorted = malloc(((size_t)count + 1) * sizeof *sorted);
  int64_t *starts = calloc((size_t)code->scale_count + 1, sizeof *starts);
  bool is_good = entries && sorted && starts;
  if (is_good) {
    for (int64_t i = 0; i < count; i++) starts[coded[unsorted[i].node].scale + 1]++;
    for (int32_t s = 0; s < code->scale_count; s++) starts[s + 1] += starts[s];
    for (int64_t i = 0; i < count; i++) entries[starts[coded[unsorted[i].node].scale]++] = unsorted[i];
    // Each start now is the next one's. A scale's thresholds are written where its entries begin.
    for (int32_t s = 0; s < code->scale_count; s++) {
      const int64_t begin = s ? starts[s - 1] : 0, end = starts[s];
      code_scale *scale = &code->scales[s];
      sort_entries(entries + begin, entries + count, end - begin);
      int32_t different = 0;
      for (int64_t i = begin; i < end; i++) {
        if (i == begin || entries[i].key != entries[i - 1].key) sorted[begin + different++] = descending(entries[i].key);
        coded[entries[i].node].rank = different - 1;
      }
      scale->count = different;
      scale->missing_most = scale->missing == MR_TREE_MISSING_ZERO ? (double)MR_TREE_ZERO_MAX : -1;
      scale->missing_rank = scale->missing == MR_TREE_MISSING_NOTHING ? rank_of_zero(sorted + begin, different)
                            : scale->missing_left                     ? 0
                                                                      : (uint32_t)different;
      code->threshold_count = place_levels(scale, code->threshold_count);
    }
    code->wide = forest_allocate((size_t)code->threshold_count, sizeof(double), &forest->bytes);
    code->narrow = forest_allocate((size_t)code->threshold_count, sizeof(float), &forest->bytes);
    is_good = code->wide && code->narrow;
    for (int32_t s = 0; is_good && s < code->scale_count; s++)
      fill_levels(code, &code->scales[s], sorted + (s ? starts[s - 1] : 0), s + 1 < code->scale_count ? code->scales[s + 1].level[0] : code->threshold_count);
  }
  free(entries);
  free(sorted);
  free(starts);
  return is_good;
}

bool forest_code_pack(mr_forest *forest, const mr_forest_source *s, coded_node *coded) {
  forest_code *code = &forest->code;
  // For each feature: NOTHING, NAN right, NAN left, ZERO right, ZERO left.
  enum { KINDS = 5 };
  int32_t *scale_of = calloc((size_t)s->feature_count * KINDS + 1, sizeof *scale_of);
  entry *entries = malloc(((size_t)s->node_count + 1) * sizeof *entries);
  int64_t entry_count = 0, capacity = 0;
  bool is_good = scale_of && entries;
  for (int64_t i = 0; is_good && i < s->node_count; i++) {
    const mr_tree_node *node = &s->nodes[i];
    const normal_node n = normalise(node);
    coded[i] = (coded_node){0, 0, n.is_swapped ? node->right : node->left, n.is_swapped ? node->left : node->right};
    if (n.predicate >= 0) continue;
    const int kind = n.missing == MR_TREE_MISSING_NOTHING ? 0 : n.missing * 2 - 1 + n.missing_left;
    int32_t *scale = &scale_of[(size_t)node->feature * KINDS + (size_t)kind];
    if (*scale == 0) {
      if (code->scale_count == capacity) {
        capacity = capacity ? capacity * 2 : 64;
        code_scale *grown = realloc(code->scales, (size_t)capacity * sizeof *grown);
        if (!grown) {
          is_good = false;
          break;
        }
        code->scales = grown;
      }
      code->scales[code->scale_count++] = (code_scale){.feature = node->feature, .missing = n.missing, .missing_left = n.missing_left};
      *scale = code->scale_count;
    }
    coded[i].scale = *scale - 1;
    entries[entry_count++] = (entry){ascending(n.threshold), i};
  }
  forest->bytes += (size_t)capacity * sizeof(code_scale);
  is_good = is_good && pack_thresholds(forest, coded, entries, entry_count) && pack_predicates(forest, s, coded, s->node_count - entry_count);
  free(scale_of);
  free(entries);
  for (int32_t i = 0; is_good && i < code->scale_count; i++) {
    code_scale *scale = &code->scales[i];
    scale->byte_column = (int32_t)code->byte_columns;
    scale->word_column = (int32_t)code->word_columns;
    code->byte_columns += (scale->count + BYTE_RANKS - 1) / BYTE_RANKS;
    code->word_columns += (scale->count + WORD_RANKS - 1) / WORD_RANKS;
  }
  code->byte_columns += code->predicate_count;
  code->word_columns += code->predicate_count;
  return is_good;
}

void forest_code_free(mr_forest *forest) {
  free(forest->code.scales);
  free(forest->code.wide);
  free(forest->code.narrow);
  free(forest->code.predicates);
  free(forest->code.category_bits);
}
