// The loops of mr_elementwise.h, written plainly so that the compiler vectorizes them; included once for each instruction set, with
// MR_SUFFIX set. Branches on values are selects, so that all lanes take one way.
#include <math.h>
#include <string.h>

#include "../include/mr_elementwise.h"

#define MR_JOIN_(a, b) a##b
#define MR_JOIN(a, b) MR_JOIN_(a, b)
#define MR_NAME(name) MR_JOIN(name, MR_SUFFIX)
#define MR_INLINE static inline __attribute__((always_inline))

MR_INLINE float mr_bits_float(uint32_t bits) {
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

MR_INLINE uint32_t mr_float_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  return bits;
}

// exp(x) = 2^n exp(r), |r| <= ln 2 / 2, by Cephes' polynomial: below 2 units in the last place. The power is applied in two
// halves, so that results down to the smallest subnormal number are right. NaN stays.
MR_INLINE float mr_exp_lane(float x) {
  float t = x > 89.0f ? 89.0f : x;
  t = t < -104.0f ? -104.0f : t;
  float shifted = t * 1.44269504f + 12582912.0f;
  float n = shifted - 12582912.0f;
  int32_t k = (int32_t)(mr_float_bits(shifted) - 0x4B400000u);
  float r = (t - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  int32_t half = k >> 1;
  float a = mr_bits_float((uint32_t)(half + 127) << 23);
  float b = mr_bits_float((uint32_t)(k - half + 127) << 23);
  return p * a * b;
}

// exp(x) - 1 for x <= 0.
MR_INLINE float mr_expm1_lane(float x) {
  float small = 1.0f / 5040.0f;
  small = small * x + 1.0f / 720.0f;
  small = small * x + 1.0f / 120.0f;
  small = small * x + 1.0f / 24.0f;
  small = small * x + 1.0f / 6.0f;
  small = small * x + 0.5f;
  small = small * x * x + x;
  float large = mr_exp_lane(x) - 1.0f;
  return x > -0.35f ? small : large;
}

#define MR_LOOP(expression)               \
  for (size_t i = 0; i < count; i += 1) { \
    float v = x[i];                       \
    y[i] = (expression);                  \
  }                                       \
  break;

void MR_NAME(mr_unary)(int op, const float *x, float *y, size_t count, float alpha, float beta) {
  switch (op) {
    case MR_UNARY_COPY: memmove(y, x, count * sizeof(float)); break;
    case MR_UNARY_RELU: MR_LOOP(v < 0 ? 0.0f : v)
    case MR_UNARY_LEAKY_RELU: MR_LOOP(v < 0 ? alpha * v : v)
    case MR_UNARY_ELU: MR_LOOP(v < 0 ? alpha * mr_expm1_lane(v) : v)
    case MR_UNARY_SELU: MR_LOOP(beta * (v <= 0 ? alpha * mr_expm1_lane(v) : v))
    case MR_UNARY_LOG: MR_LOOP(logf(v))
    case MR_UNARY_SQRT: MR_LOOP(__builtin_elementwise_sqrt(v))
    case MR_UNARY_ABS: MR_LOOP(fabsf(v))
    case MR_UNARY_NEG: MR_LOOP(-v)
    case MR_UNARY_RECIPROCAL: MR_LOOP(1.0f / v)
    case MR_UNARY_SQUARE: MR_LOOP(v * v)
    case MR_UNARY_CLIP:
      // The upper bound wins when they cross, as the specification has it.
      for (size_t i = 0; i < count; i += 1) {
        float v = x[i];
        v = v < alpha ? alpha : v;
        y[i] = v > beta ? beta : v;
      }
      break;
    case MR_UNARY_FLOOR: MR_LOOP(floorf(v))
    case MR_UNARY_CEIL: MR_LOOP(ceilf(v))
    case MR_UNARY_ROUND: MR_LOOP(rintf(v))
    case MR_UNARY_SIGN: MR_LOOP(v > 0 ? 1.0f : v < 0 ? -1.0f : v)
    case MR_UNARY_HARD_SIGMOID:
      for (size_t i = 0; i < count; i += 1) {
        float v = alpha * x[i] + beta;
        v = v < 0 ? 0.0f : v;
        y[i] = v > 1 ? 1.0f : v;
      }
      break;
    case MR_UNARY_SCALE: MR_LOOP(alpha * v + beta)
    case MR_UNARY_SOFTSIGN: MR_LOOP(v / (1.0f + fabsf(v)))
    case MR_UNARY_HARD_SWISH:
      for (size_t i = 0; i < count; i += 1) {
        float v = x[i] * (1.0f / 6.0f) + 0.5f;
        v = v < 0 ? 0.0f : v;
        y[i] = x[i] * (v > 1 ? 1.0f : v);
      }
      break;
    // The rest is mr_math.h's.
    default: break;
  }
}
#undef MR_LOOP

// One row of each kind of strides, so that each is a loop of its own.
#define MR_ROWS(expression)                              \
  for (size_t r = 0; r < rows; r += 1) {                 \
    const float *p = a + (ptrdiff_t)r * a_row;           \
    const float *q = b + (ptrdiff_t)r * b_row;           \
    float *o = y + (ptrdiff_t)r * y_row;                 \
    if (a_step != 0 && b_step != 0) {                    \
      for (size_t i = 0; i < columns; i += 1) {          \
        float u = p[i], v = q[i];                        \
        o[i] = (expression);                             \
      }                                                  \
    } else if (a_step != 0) {                            \
      float v = *q;                                      \
      for (size_t i = 0; i < columns; i += 1) {          \
        float u = p[i];                                  \
        o[i] = (expression);                             \
      }                                                  \
    } else if (b_step != 0) {                            \
      float u = *p;                                      \
      for (size_t i = 0; i < columns; i += 1) {          \
        float v = q[i];                                  \
        o[i] = (expression);                             \
      }                                                  \
    } else {                                             \
      float u = *p, v = *q;                              \
      float w = (expression);                            \
      for (size_t i = 0; i < columns; i += 1) o[i] = w;  \
    }                                                    \
  }                                                      \
  break;

void MR_NAME(mr_binary)(int op, size_t rows, size_t columns, const float *a, ptrdiff_t a_row, int a_step, const float *b,
                        ptrdiff_t b_row, int b_step, float *y, ptrdiff_t y_row) {
  switch (op) {
    case MR_BINARY_ADD: MR_ROWS(u + v)
    case MR_BINARY_SUB: MR_ROWS(u - v)
    case MR_BINARY_MUL: MR_ROWS(u * v)
    case MR_BINARY_DIV: MR_ROWS(u / v)
    case MR_BINARY_MIN: MR_ROWS(u < v ? u : (u != u ? u : v))
    case MR_BINARY_MAX: MR_ROWS(u > v ? u : (u != u ? u : v))
    case MR_BINARY_POW: MR_ROWS(powf(u, v))
    case MR_BINARY_PRELU: MR_ROWS(u < 0 ? u * v : u)
    case MR_BINARY_FMOD: MR_ROWS(fmodf(u, v))
    default: break;
  }
}
#undef MR_ROWS

void MR_NAME(mr_affine)(size_t rows, size_t columns, const float *x, const float *scale, const float *shift, float *y) {
  for (size_t r = 0; r < rows; r += 1, x += columns, y += columns) {
    if (shift) {
      for (size_t i = 0; i < columns; i += 1) y[i] = x[i] * scale[i] + shift[i];
    } else {
      for (size_t i = 0; i < columns; i += 1) y[i] = x[i] * scale[i];
    }
  }
}

// Sums run in 16 lanes, in one fixed order on every instruction set.
#define MR_LANES 16
typedef float mr_lanes __attribute__((vector_size(MR_LANES * sizeof(float))));

MR_INLINE float mr_lanes_sum(const mr_lanes *lanes) {
  float sum8[8], sum4[4];
  for (int i = 0; i < 8; i += 1) sum8[i] = (*lanes)[i] + (*lanes)[i + 8];
  for (int i = 0; i < 4; i += 1) sum4[i] = sum8[i] + sum8[i + 4];
  return (sum4[0] + sum4[2]) + (sum4[1] + sum4[3]);
}

void MR_NAME(mr_layer_norm)(size_t rows, size_t columns, const float *x, const float *scale, const float *bias, float epsilon,
                            float *y, float *means, float *inverses) {
  for (size_t r = 0; r < rows; r += 1, x += columns, y += columns) {
    mr_lanes lanes = {0};
    size_t i = 0;
    for (; i + MR_LANES <= columns; i += MR_LANES) {
      mr_lanes values;
      memcpy(&values, x + i, sizeof values);
      lanes += values;
    }
    float sum = mr_lanes_sum(&lanes);
    for (; i < columns; i += 1) sum += x[i];
    float mean = sum / (float)columns;
    lanes = (mr_lanes){0};
    for (i = 0; i + MR_LANES <= columns; i += MR_LANES) {
      mr_lanes d;
      memcpy(&d, x + i, sizeof d);
      d -= mean;
      lanes += d * d;
    }
    sum = mr_lanes_sum(&lanes);
    for (; i < columns; i += 1) {
      float d = x[i] - mean;
      sum += d * d;
    }
    float inverse = 1.0f / __builtin_elementwise_sqrt(sum / (float)columns + epsilon);
    if (means) means[r] = mean;
    if (inverses) inverses[r] = inverse;
    if (bias) {
      for (i = 0; i < columns; i += 1) y[i] = (x[i] - mean) * inverse * scale[i] + bias[i];
    } else {
      for (i = 0; i < columns; i += 1) y[i] = (x[i] - mean) * inverse * scale[i];
    }
  }
}
