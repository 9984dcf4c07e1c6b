// Functions of many floats at once: activations, softmax, and the narrow forms of floats. They run in the set in force.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// y[i] = f(x[i]); x and y may be the same. NaN gives NaN; infinities give the limit. Error against exact arithmetic, where the result is at least
/// 1e-36 in magnitude: at most 1e-6 of it; for GELU by tanh 4e-5 of it below x = -3, where rounding the cube alone costs that. Below 1e-36: at most
/// 1e-40 (Tests/KernelsTests holds all of it).
void mr_math_exp(const float *x, float *y, size_t count);
void mr_math_erf(const float *x, float *y, size_t count);
void mr_math_tanh(const float *x, float *y, size_t count);
void mr_math_sigmoid(const float *x, float *y, size_t count);
/// One of the MR_ACTIVATION_ numbers of mr_matrix.h. ReLU of NaN is NaN.
void mr_math_activate(int activation, const float *x, float *y, size_t count);

/// y = softmax of one vector: e^(x - max) / sum; relative error 1e-6, and half of 2^-23 for each 1 that x is below the greatest. All -inf, or a NaN in x: NaN. x and y may be the same.
void mr_math_softmax(const float *x, float *y, size_t count);
/// The logarithm of it.
void mr_math_log_softmax(const float *x, float *y, size_t count);

/// Round to nearest even. NaN stays NaN.
void mr_math_to_bfloat16(const float *x, uint16_t *y, size_t count);
void mr_math_from_bfloat16(const uint16_t *x, float *y, size_t count);
