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

/// Where the levels of a scale end.
static int64_t end_of(const forest_code *code, int32_t scale) {
  return scale + 1 < code->scale_count ? code->scales[scale + 1].level[0] : code->threshold_count;
}

/// Places the levels of all scales, whose counts are known, and makes room for them.
static bool place_thresholds(mr_forest *forest) {
  forest_code *code = &forest->code;
  for (int32_t s = 0; s < code->scale_count; s++) code->threshold_count = place_levels(&code->scales[s], code->threshold_count);
  code->wide = forest_allocate((size_t)code->threshold_count, sizeof(double), &forest->bytes);
  code->narrow = forest_allocate((size_t)code->threshold_count, sizeof(float), &forest->bytes);
  return code->wide && code->narrow;
}

/// Fills up a scale whose thresholds stand in its lowest level.
static void fill_levels(forest_code *code, int32_t place) {
  code_scale *scale = &code->scales[place];
  const int32_t lowest = scale->levels - 1;
  const int64_t start = scale->level[lowest], end = end_of(code, place);
  uint32_t below_zero = 0;
  for (int64_t i = start; i < end; i++) {
    if (i - start >= scale->count) code->wide[i] = INFINITY;
    code->narrow[i] = floored(code->wide[i]);
    below_zero += code->wide[i] < 0;
  }
  for (int32_t l = lowest - 1; l >= 0; l--) {
    const int64_t below = scale->level[l + 1], below_end = l + 1 == lowest ? end : scale->level[l + 2];
    for (int64_t i = scale->level[l], last = below + 15; i < below; i++, last += 16) {
      code->wide[i] = last < below_end ? code->wide[last] : INFINITY;
      code->narrow[i] = last < below_end ? code->narrow[last] : INFINITY;
    }
  }
  scale->missing_most = scale->missing == MR_TREE_MISSING_ZERO ? (double)MR_TREE_ZERO_MAX : -1;
  scale->missing_rank = scale->missing == MR_TREE_MISSING_NOTHING ? below_zero : scale->missing_left ? 0 : (uint32_t)scale->count;
}

/// Thresholds of each scale, sorted, each once; and every node's place among them. `starts`: where each scale's entries begin.
static bool sort_thresholds(mr_forest *forest, const mr_forest_source *s, coded_node *coded, int64_t *starts, int64_t count) {
  forest_code *code = &forest->code;
  size_t for_now = 0;
  entry *entries = forest_allocate((size_t)count * 2, sizeof *entries, &for_now);
  if (!entries) return false;
  for (int64_t i = 0; i < s->node_count; i++)
    if (coded[i].scale >= 0) entries[starts[coded[i].scale]++] = (entry){ascending(normalise(&s->nodes[i]).threshold), i};
  // Each start now is the next one's.
  for (int32_t k = code->scale_count; k > 0; k--) starts[k] = starts[k - 1];
  starts[0] = 0;
  for (int32_t k = 0; k < code->scale_count; k++) {
    const int64_t begin = starts[k], end = starts[k + 1];
    sort_entries(entries + begin, entries + count, end - begin);
    int32_t different = 0;
    for (int64_t i = begin; i < end; i++) {
      if (i == begin || entries[i].key != entries[i - 1].key) different++;
      coded[entries[i].node].rank = different - 1;
    }
    code->scales[k].count = different;
  }
  const bool is_good = place_thresholds(forest);
  for (int32_t k = 0; is_good && k < code->scale_count; k++) {
    double *to = code->wide + code->scales[k].level[code->scales[k].levels - 1];
    for (int64_t i = starts[k]; i < starts[k + 1]; i++)
      if (i == starts[k] || entries[i].key != entries[i - 1].key) *to++ = descending(entries[i].key);
  }
  free(entries);
  return is_good;
}

/// The same from ranks that came with the forest: nothing is sorted, everything is checked. False: `problem` says which node's is wrong.
static bool take_thresholds(mr_forest *forest, const mr_forest_source *s, coded_node *coded, const int64_t *starts, mr_forest_problem *problem) {
  forest_code *code = &forest->code;
  for (int64_t i = 0; i < s->node_count; i++) {
    if (coded[i].scale < 0) continue;
    code_scale *scale = &code->scales[coded[i].scale];
    // A scale has no more thresholds than nodes.
    if ((int64_t)s->ranks[i] >= starts[coded[i].scale + 1] - starts[coded[i].scale]) {
      *problem = (mr_forest_problem){"a rank beyond its feature's thresholds", -1, i};
      return false;
    }
    coded[i].rank = (int32_t)s->ranks[i];
    if (coded[i].rank >= scale->count) scale->count = coded[i].rank + 1;
  }
  if (!place_thresholds(forest)) return false;
  // All bits set: a NaN, which no threshold is.
  memset(code->wide, 0xFF, (size_t)code->threshold_count * sizeof *code->wide);
  for (int64_t i = 0; i < s->node_count; i++) {
    // Thresholds of a large forest lie anywhere in its memory: some are asked for ahead.
    const int64_t ahead = i + 24;
    if (ahead < s->node_count && coded[ahead].scale >= 0) {
      const code_scale *next = &code->scales[coded[ahead].scale];
      __builtin_prefetch(code->wide + next->level[next->levels - 1] + coded[ahead].rank, 1);
    }
    if (coded[i].scale < 0) continue;
    const code_scale *scale = &code->scales[coded[i].scale];
    const double threshold = normalise(&s->nodes[i]).threshold;
    double *known = code->wide + scale->level[scale->levels - 1] + coded[i].rank;
    if (*known == *known && *known != threshold) {
      *problem = (mr_forest_problem){"a rank that is not its threshold's", -1, i};
      return false;
    }
    *known = threshold;
  }
  for (int32_t k = 0; k < code->scale_count; k++) {
    const double *t = code->wide + code->scales[k].level[code->scales[k].levels - 1];
    for (int32_t r = 0; r < code->scales[k].count; r++) {
      // False for a rank that no node has, too.
      if (t[r] == t[r] && (r == 0 || t[r - 1] < t[r])) continue;
      *problem = (mr_forest_problem){"ranks that do not ascend with their thresholds", -1, -1};
      return false;
    }
  }
  return true;
}

bool forest_code_pack(mr_forest *forest, const mr_forest_source *s, coded_node *coded, mr_forest_problem *problem) {
  forest_code *code = &forest->code;
  // For each feature: NOTHING, NAN right, NAN left, ZERO right, ZERO left.
  enum { KINDS = 5 };
  int32_t *scale_of = calloc((size_t)s->feature_count * KINDS + 1, sizeof *scale_of);
  int64_t *starts = calloc(1, sizeof *starts);
  int64_t threshold_nodes = 0, capacity = 0;
  bool is_good = scale_of && starts;
  for (int64_t i = 0; is_good && i < s->node_count; i++) {
    const mr_tree_node *node = &s->nodes[i];
    const normal_node n = normalise(node);
    coded[i] = (coded_node){-1, 0, n.is_swapped ? node->right : node->left, n.is_swapped ? node->left : node->right};
    if (n.predicate >= 0) continue;
    const int kind = n.missing == MR_TREE_MISSING_NOTHING ? 0 : n.missing * 2 - 1 + n.missing_left;
    int32_t *scale = &scale_of[(size_t)node->feature * KINDS + (size_t)kind];
    if (*scale == 0) {
      if (code->scale_count == capacity) {
        capacity = capacity ? capacity * 2 : 64;
        code_scale *grown = realloc(code->scales, (size_t)capacity * sizeof *grown);
        if (grown) code->scales = grown;
        int64_t *more = realloc(starts, ((size_t)capacity + 1) * sizeof *more);
        if (more) starts = more;
        if (!grown || !more) {
          is_good = false;
          break;
        }
      }
      code->scales[code->scale_count++] = (code_scale){.feature = node->feature, .missing = n.missing, .missing_left = n.missing_left};
      starts[code->scale_count] = 0;
      *scale = code->scale_count;
    }
    coded[i].scale = *scale - 1;
    starts[*scale]++;
    threshold_nodes++;
  }
  forest->bytes += (size_t)capacity * sizeof(code_scale);
  if (is_good) {
    starts[0] = 0;
    for (int32_t k = 0; k < code->scale_count; k++) starts[k + 1] += starts[k];
    is_good = s->ranks ? take_thresholds(forest, s, coded, starts, problem) : sort_thresholds(forest, s, coded, starts, threshold_nodes);
    for (int32_t k = 0; is_good && k < code->scale_count; k++) fill_levels(code, k);
  }
  free(starts);
  free(scale_of);
  if (is_good && threshold_nodes < s->node_count)
    is_good = pack_predicates(forest, s, coded, s->node_count - threshold_nodes) && forest_groups_pack(forest, s->node_count, coded);
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
  free(forest->code.groups);
  free(forest->code.group_tables);
}
