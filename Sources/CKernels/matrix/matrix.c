// Packing of weights, once, and the choice of form.
#define _DEFAULT_SOURCE  // madvise
#include <math.h>
#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "matrix_internal.h"
#include "mr_isa.h"
#include "packed_matrix.h"

#if defined(__aarch64__)
static bool has_dot_products(void) {
#if defined(__linux__)
  return getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
#else
  return true;
#endif
}
#endif

const mr_form *mr_form_in_force(int precision) {
  const int isa = mr_isa();
#if defined(__x86_64__)
  if (isa == MR_ISA_AVX512) {
    if (precision == MR_FLOAT32) return &mr_f32_avx512;
    if (precision == MR_BFLOAT16 && mr_isa_has_bf16()) return &mr_bf16_avx512;
    if (precision == MR_INT8 && mr_isa_has_vnni()) return &mr_int8_avx512;
  }
  if (isa >= MR_ISA_AVX2) return precision == MR_FLOAT32 ? &mr_f32_avx2 : precision == MR_BFLOAT16 ? &mr_bf16_avx2 : &mr_int8_avx2;
#elif defined(__aarch64__)
  if (isa == MR_ISA_NEON && precision == MR_INT8 && has_dot_products()) return &mr_int8_neon_dot;
  if (isa == MR_ISA_NEON) return precision == MR_FLOAT32 ? &mr_f32_neon : precision == MR_BFLOAT16 ? &mr_bf16_neon : &mr_int8_neon;
#endif
  (void)isa;
  return precision == MR_FLOAT32 ? &mr_f32_scalar : precision == MR_BFLOAT16 ? &mr_bf16_scalar : &mr_int8_scalar;
}

#define HUGE_PAGE_BYTES ((size_t)1 << 21)
#define HUGE_BYTES_MIN (4 * HUGE_PAGE_BYTES)

/// 64-byte aligned, all zeros.
void *mr_zeroed(size_t bytes) {
  // Large weights in large pages: fewer faults while they are packed, fewer misses while they are read.
  const size_t alignment = bytes >= HUGE_BYTES_MIN ? HUGE_PAGE_BYTES : 64;
  const size_t size = mr_round_up(bytes ? bytes : 1, alignment);
  void *memory = aligned_alloc(alignment, size);
#if defined(__linux__)
  if (memory && alignment == HUGE_PAGE_BYTES) madvise(memory, size, MADV_HUGEPAGE);
#endif
  if (memory) memset(memory, 0, size);
  return memory;
}

mr_column mr_column_of(const mr_panels *panels, size_t output) {
  const mr_form *form = panels->form;
  const size_t first = output / form->width * form->width;
  const size_t columns = mr_panel_columns(form, panels->outputs, first);
  return (mr_column){.begin = (first * panels->steps + (output - first)) * form->group, .step = columns * form->group,
                     .shift = (unsigned)__builtin_ctzl(form->group)};
}

bool mr_panels_prepare(mr_panels *panels, const mr_form *form, size_t inputs, size_t outputs, bool scaled) {
  panels->form = form;
  panels->inputs = inputs;
  panels->outputs = outputs;
  panels->steps = (inputs + form->group - 1) / form->group;
  const size_t padded = mr_round_up(outputs ? outputs : 1, 64);
  panels->weights = mr_zeroed(mr_panels_bytes(panels));
  panels->bias = mr_zeroed(padded * 4);
  panels->scales = scaled ? mr_zeroed(padded * 4) : NULL;
  panels->corrections = scaled ? mr_zeroed(padded * 4) : NULL;
  panels->starts = scaled && form->has_signed_values ? mr_zeroed(padded * 4) : NULL;
  panels->floor = -INFINITY;
  if (scaled && (!panels->scales || !panels->corrections || (form->has_signed_values && !panels->starts))) return false;
  return panels->weights && panels->bias;
}

size_t mr_panels_bytes(const mr_panels *panels) {
  const mr_form *form = panels->form;
  return mr_round_up(panels->outputs, form->narrow_width) * panels->steps * form->group * form->weight_bytes;
}

void mr_panels_release(mr_panels *panels) {
  free(panels->weights);
  free(panels->bias);
  free(panels->scales);
  free(panels->corrections);
  free(panels->starts);
}

static float weight_at(const mr_matrix_source *source, size_t output, size_t input) {
  const ptrdiff_t at = (ptrdiff_t)output * source->output_stride + (ptrdiff_t)input * source->input_stride;
  switch (source->element) {
    case MR_BFLOAT16: return mr_float_of_bfloat16(((const uint16_t *)source->weights)[at]);
    case MR_INT8: return (float)((const int8_t *)source->weights)[at] * (source->scales ? source->scales[output] : 1);
    default: return ((const float *)source->weights)[at];
  }
}

/// The scale of an output's weights, so that the greatest becomes 127.
static float scale_of(const mr_matrix_source *source, size_t output) {
  if (source->element == MR_INT8) return source->scales ? source->scales[output] : 1;
  float greatest = 0;
  for (size_t i = 0; i < source->inputs; i++) {
    const float absolute = fabsf(weight_at(source, output, i));
    if (!(absolute <= 3.40282347e38f)) return NAN;
    if (absolute > greatest) greatest = absolute;
  }
  return greatest < MR_QUANTIZED_MIN ? 0 : greatest / 127;
}

static void pack_int8(mr_panels *panels, const mr_matrix_source *source) {
  int8_t *weights = panels->weights;
  for (size_t o = 0; o < source->outputs; o++) {
    const float scale = scale_of(source, o);
    const mr_column column = mr_column_of(panels, o);
    int32_t sum = 0;
    for (size_t i = 0; i < source->inputs; i++) {
      int32_t q;
      if (source->element == MR_INT8)
        q = ((const int8_t *)source->weights)[(ptrdiff_t)o * source->output_stride + (ptrdiff_t)i * source->input_stride];
      else
        q = scale > 0 ? (int32_t)rintf(weight_at(source, o, i) / scale) : 0;
      weights[mr_column_place(panels, column, i)] = (int8_t)q;
      sum += q;
    }
    panels->scales[o] = scale;
    panels->corrections[o] = -panels->x_zero * sum;
    if (panels->starts) panels->starts[o] = 128 * sum;
  }
}

/// Inputs that are packed for all outputs of a panel before the next ones: 64 of each make 16 KiB of a panel, which stays in cache while
/// one output after the other is written into it.
#define INPUT_BLOCK 64

static void pack_floats(mr_panels *panels, const mr_matrix_source *source, int precision) {
  const mr_form *form = panels->form;
  const bool is_plain = precision == MR_FLOAT32 && source->element == MR_FLOAT32 && form->group == 1;
  const size_t block = !is_plain && source->input_stride == 1 ? source->inputs : INPUT_BLOCK;
  for (size_t first = 0; first < source->outputs; first += form->width) {
    const size_t end = first + form->width < source->outputs ? first + form->width : source->outputs;
    for (size_t begin = 0; begin < source->inputs; begin += block) {
      const size_t stop = begin + block < source->inputs ? begin + block : source->inputs;
      if (is_plain && source->output_stride == 1) {
        // Weights of one input lie beside each other on both sides.
        const mr_column column = mr_column_of(panels, first);
        for (size_t i = begin; i < stop; i++)
          memcpy((float *)panels->weights + mr_column_place(panels, column, i),
                 (const float *)source->weights + (ptrdiff_t)i * source->input_stride + first, (end - first) * sizeof(float));
        continue;
      }
      for (size_t o = first; o < end; o++) {
        const mr_column column = mr_column_of(panels, o);
        if (is_plain && source->input_stride == 1) {
          const float *from = (const float *)source->weights + (ptrdiff_t)o * source->output_stride;
          float *to = (float *)panels->weights + column.begin;
          for (size_t i = begin; i < stop; i++) to[i * column.step] = from[i];
          continue;
        }
        for (size_t i = begin; i < stop; i++) {
          const size_t at = mr_column_place(panels, column, i);
          const float weight = weight_at(source, o, i);
          if (precision == MR_BFLOAT16) ((uint16_t *)panels->weights)[at] = mr_bfloat16(weight);
          else ((float *)panels->weights)[at] = weight;
        }
      }
    }
  }
}

mr_matrix *mr_matrix_create(const mr_matrix_source *source) {
  mr_matrix *matrix = calloc(1, sizeof *matrix);
  if (!matrix) return NULL;
  int precision = source->precision;
  if (precision == MR_INT8 && source->inputs > MR_INT8_INPUTS_MAX) precision = MR_FLOAT32;
  matrix->precision = precision;
  matrix->activation = source->activation;
  matrix->isa = mr_isa();
  mr_panels *panels = &matrix->panels;
  if (!mr_panels_prepare(panels, mr_form_in_force(precision), source->inputs, source->outputs, precision == MR_INT8)) {
    mr_matrix_destroy(matrix);
    return NULL;
  }
  panels->interleaved = panels->form->interleaves;
  if (source->activation == MR_ACTIVATION_RELU) panels->floor = 0;
  panels->x_scale = source->x_scale > 0 ? source->x_scale : 0;
  panels->x_zero = source->x_scale > 0 ? source->x_zero : 128;
  for (size_t o = 0; o < source->outputs; o++) panels->bias[o] = source->bias ? source->bias[o] : 0;
  if (precision == MR_INT8) {
    pack_int8(panels, source);
    return matrix;
  }
  pack_floats(panels, source, precision);
  return matrix;
}

void mr_matrix_destroy(mr_matrix *matrix) {
  if (!matrix) return;
  mr_panels_release(&matrix->panels);
  free(matrix);
}

int mr_matrix_precision(const mr_matrix *matrix) { return matrix->precision; }
int mr_matrix_isa(const mr_matrix *matrix) { return matrix->isa; }
size_t mr_matrix_inputs(const mr_matrix *matrix) { return matrix->panels.inputs; }
size_t mr_matrix_outputs(const mr_matrix *matrix) { return matrix->panels.outputs; }

size_t mr_matrix_bytes(const mr_matrix *matrix) {
  const size_t columns = mr_round_up(matrix->panels.outputs, 64) * 4;
  return mr_panels_bytes(&matrix->panels) + columns * (matrix->precision == MR_INT8 ? 3 : 1);
}
