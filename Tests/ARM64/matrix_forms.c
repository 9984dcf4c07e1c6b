// The matrix forms of this machine's best instruction set against the portable ones, without Swift: what run.sh builds for arm64 and runs under qemu.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mr_isa.h"
#include "mr_math.h"
#include "mr_matrix.h"
#include "random_numbers.h"

static long checks, wrong;

static void expect(int right, const char *what, int precision, size_t rows, size_t inputs, size_t outputs) {
  checks++;
  if (right) return;
  if (wrong++ < 20) printf("%s: precision %d, %zu x %zu -> %zu\n", what, precision, rows, inputs, outputs);
}

static void run(const mr_matrix *matrix, const float *x, size_t x_stride, size_t rows, float *y, size_t y_stride) {
  void *scratch = aligned_alloc(64, (mr_chain_scratch_bytes(&matrix, 1, rows) + 127) / 64 * 64);
  mr_chain_run(&matrix, 1, x, x_stride, rows, y, y_stride, scratch);
  free(scratch);
}

static void layer(int best, int precision, size_t rows, size_t inputs, size_t outputs) {
  const size_t x_stride = inputs + rows % 3, y_stride = outputs + rows % 4, y_count = rows * y_stride;
  float *weights = malloc(inputs * outputs * 4 + 4), *bias = malloc(outputs * 4 + 4), *x = malloc(rows * x_stride * 4 + 4);
  float *expected = malloc(y_count * 4 + 4), *given = malloc(y_count * 4 + 4);
  for (size_t i = 0; i < inputs * outputs; i++) weights[i] = number();
  for (size_t o = 0; o < outputs; o++) bias[o] = number();
  for (size_t i = 0; i < rows * x_stride; i++) x[i] = rows % 2 ? number() : fabsf(number());
  for (size_t i = 0; i < y_count; i++) expected[i] = given[i] = 777;
  mr_matrix_source source = {.element = MR_FLOAT32, .weights = weights, .output_stride = (ptrdiff_t)inputs, .input_stride = 1, .bias = bias,
                             .inputs = inputs, .outputs = outputs, .precision = precision, .activation = (int)(outputs % 2)};
  if (inputs % 3 == 0) source.x_scale = 0.007f, source.x_zero = 117;
  mr_isa_force(MR_ISA_SCALAR);
  mr_matrix *oracle = mr_matrix_create(&source);
  mr_isa_force(best);
  mr_matrix *matrix = mr_matrix_create(&source);
  run(oracle, x, x_stride, rows, expected, y_stride);
  run(matrix, x, x_stride, rows, given, y_stride);
  const float bound = precision == MR_INT8 ? 0 : (float)((inputs + 2) * (inputs + 2)) * 0x1p-23f;
  for (size_t i = 0; i < y_count; i++) {
    const int right = i % y_stride >= outputs ? given[i] == 777 : fabsf(expected[i] - given[i]) <= bound;
    expect(right, "layer", precision, rows, inputs, outputs);
  }
  mr_matrix_destroy(oracle);
  mr_matrix_destroy(matrix);
  free(weights), free(bias), free(x), free(expected), free(given);
}

static void integers(size_t rows, size_t inputs, size_t outputs, int a_signed, int b_signed) {
  uint8_t *a = malloc(rows * inputs + 1), *b = malloc(inputs * outputs + 1), *zeros = malloc(outputs + 1), zero = (uint8_t)next();
  int32_t *c = malloc(rows * outputs * 4 + 4);
  for (size_t i = 0; i < rows * inputs; i++) a[i] = (uint8_t)next();
  for (size_t i = 0; i < inputs * outputs; i++) b[i] = (uint8_t)next();
  for (size_t o = 0; o < outputs; o++) zeros[o] = (uint8_t)next();
  mr_integer_matrix *matrix = mr_integer_matrix_create(b, b_signed, (ptrdiff_t)outputs, 1, inputs, outputs, zeros, outputs);
  void *scratch = aligned_alloc(64, (mr_integer_scratch_bytes(matrix, rows) + 127) / 64 * 64);
  mr_integer_multiply(matrix, a, a_signed, inputs, &zero, 1, rows, c, outputs, scratch);
  for (size_t r = 0; r < rows; r++)
    for (size_t o = 0; o < outputs; o++) {
      int32_t sum = 0;
      for (size_t i = 0; i < inputs; i++) {
        const uint8_t left = a[r * inputs + i], right = b[i * outputs + o];
        sum += ((a_signed ? (int8_t)left : left) - (a_signed ? (int8_t)zero : zero)) *
               ((b_signed ? (int8_t)right : right) - (b_signed ? (int8_t)zeros[o] : zeros[o]));
      }
      expect(c[r * outputs + o] == sum, "integers", a_signed * 2 + b_signed, rows, inputs, outputs);
    }
  mr_integer_matrix_destroy(matrix);
  free(scratch), free(a), free(b), free(zeros), free(c);
}

static void functions(int best) {
  enum { COUNT = 40001 };
  static float x[COUNT], expected[COUNT], given[COUNT];
  for (int i = 0; i < COUNT; i++) x[i] = (float)(i - COUNT / 2) / 400;
  for (int activation = 1; activation <= MR_ACTIVATIONS_END; activation++) {
    for (int isa = 0; isa < 2; isa++) {
      mr_isa_force(isa ? best : MR_ISA_SCALAR);
      float *y = isa ? given : expected;
      if (activation == MR_ACTIVATIONS_END) mr_math_erf(x, y, COUNT);
      else mr_math_activate(activation, x, y, COUNT);
    }
    for (int i = 0; i < COUNT; i++) {
      const double size = fabs((double)expected[i]), tolerance = activation == MR_ACTIVATION_GELU_TANH ? 4e-5 : 1e-6;
      const double bound = size >= 1e-36 ? tolerance * size : 1e-40;
      expect(fabs((double)expected[i] - given[i]) <= bound, "function", activation, (size_t)i, 0, 0);
    }
  }
}

int main(void) {
  const int best = mr_isa();
  const size_t inputs[] = {0, 1, 3, 4, 15, 16, 17, 63, 64, 65, 130}, outputs[] = {1, 2, 8, 9, 15, 16, 17, 31, 33, 65};
  const size_t rows[] = {1, 2, 3, 5, 6, 7, 15, 29};
  for (size_t k = 0; k < sizeof inputs / sizeof *inputs; k++)
    for (size_t n = 0; n < sizeof outputs / sizeof *outputs; n++)
      for (size_t m = 0; m < sizeof rows / sizeof *rows; m++) {
        for (int precision = MR_FLOAT32; precision <= MR_INT8; precision++) layer(best, precision, rows[m], inputs[k], outputs[n]);
        integers(rows[m], inputs[k], outputs[n], (int)(k % 2), (int)(n % 2));
      }
  functions(best);
  printf("%s: %ld checks, %ld wrong\n", mr_isa_name(best), checks, wrong);
  return wrong != 0;
}
