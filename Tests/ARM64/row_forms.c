// The bags, factorization machines and dot products of this machine's best instruction set against the portable ones, without Swift: what run.sh
// builds for arm64 and runs under qemu.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mr_interaction.h"
#include "mr_isa.h"
#include "random_numbers.h"

enum { TABLE_ROWS = 40, BAGS = 7, ENTRIES = 64 };

static long checks, wrong;

static uint32_t rows[ENTRIES], slots[ENTRIES];
static float weights[ENTRIES];
static int32_t ends[BAGS];

/// Bags of 0 to 5 entries.
static void draw_entries(void) {
  int32_t entries = 0;
  for (int b = 0; b < BAGS; b++) ends[b] = entries += (int32_t)(next() % 6);
  for (int e = 0; e < entries; e++) rows[e] = next() % TABLE_ROWS, slots[e] = next() % BAGS, weights[e] = number();
}

static mr_embedding table(int element, uint32_t width, uint32_t head) {
  mr_embedding t = {NULL, TABLE_ROWS, element, width, head, mr_embedding_row_bytes(element, head, width)};
  uint8_t *memory = malloc((size_t)TABLE_ROWS * t.row_bytes);
  float values[MR_EMBEDDING_WIDTH_MAX], heads[MR_EMBEDDING_HEAD_MAX];
  t.rows = memory;
  for (uint32_t r = 0; r < TABLE_ROWS; r++) {
    for (uint32_t i = 0; i < width; i++) values[i] = number();
    for (uint32_t i = 0; i < head; i++) heads[i] = number();
    mr_embedding_encode(&t, heads, values, memory + (size_t)r * t.row_bytes);
  }
  return t;
}

/// Both forms on the same memory, of which nothing else may change: 777 stands where nothing is written.
static void compare(int best, size_t count, float at_first, void (*run)(const void *, float *), const void *what, const char *name, uint32_t width) {
  float *expected = malloc(count * 4), *given = malloc(count * 4);
  for (size_t i = 0; i < count; i++) expected[i] = given[i] = at_first;
  mr_isa_force(MR_ISA_SCALAR);
  run(what, expected);
  mr_isa_force(best);
  run(what, given);
  for (size_t i = 0; i < count; i++) {
    checks++;
    if (fabsf(expected[i] - given[i]) <= 2e-5f * (1 + fabsf(expected[i]))) continue;
    if (wrong++ < 20) printf("%s, width %u: [%zu] is %g, not %g\n", name, width, i, given[i], expected[i]);
  }
  free(expected), free(given);
}

typedef struct bags { mr_embedding t; int mode; bool weighted; uint32_t outputs; } bags;
typedef struct dots { const float *x; uint32_t vectors, width; } dots;

static void run_bag(const void *p, float *out) {
  const bags *b = p;
  mr_embedding_bag(&b->t, rows, b->weighted ? weights : NULL, ends, BAGS, b->mode, out, b->t.width + 3);
}
static void run_add(const void *p, float *out) {
  const bags *b = p;
  mr_embedding_add(&b->t, rows, b->weighted ? weights : NULL, slots, (size_t)ends[BAGS - 1], out, b->t.width + 3);
}
static void run_fm(const void *p, float *out) {
  const bags *b = p;
  mr_fm_partial(&b->t, b->outputs, rows, weights, ends, BAGS, out);
}
static void run_dot(const void *p, float *out) {
  const dots *d = p;
  mr_dot_interaction(d->x, (size_t)d->vectors * d->width + 1, d->vectors, d->width, 3, out, d->width + (size_t)d->vectors * (d->vectors - 1) / 2 + 5);
}

int main(void) {
  const int best = mr_isa();
  for (int element = MR_ROWS_FLOAT32; element <= MR_ROWS_INT8; element++)
    for (uint32_t width = 1; width <= 300; width += width < 70 ? 1 : 23) {
      draw_entries();
      for (int form = 0; form < 4; form++) {
        bags b = {table(element, width, (uint32_t)form & 1), form & 1, form & 2, 0};
        compare(best, BAGS * (width + 3), 777, run_bag, &b, "bag", width);
        compare(best, BAGS * (width + 3), 0.5f, run_add, &b, "add", width);
        free((void *)b.t.rows);
      }
      for (uint32_t outputs = 1; outputs <= 3; outputs++) {
        bags b = {table(element, width * outputs, outputs), 0, true, outputs};
        compare(best, BAGS * outputs * (width + 2), 0.5f, run_fm, &b, "fm", width);
        free((void *)b.t.rows);
      }
    }
  for (uint32_t vectors = 1; vectors <= 20; vectors++)
    for (uint32_t width = 1; width <= 150; width += width < 20 ? 1 : 13) {
      const size_t count = 3 * ((size_t)vectors * width + 1);
      float *x = malloc(count * 4);
      for (size_t i = 0; i < count; i++) x[i] = number();
      dots d = {x, vectors, width};
      compare(best, 3 * (width + (size_t)vectors * (vectors - 1) / 2 + 5), 777, run_dot, &d, "dot", width);
      free(x);
    }
  printf("%s against the portable forms: %ld numbers, %ld wrong\n", mr_isa_name(best), checks, wrong);
  return wrong != 0;
}
