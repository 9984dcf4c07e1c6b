#pragma once
#include <CMessages.h>

#ifdef __cplusplus
extern "C" {
#endif

/// A reused simdjson parser with its own padded copy of the record. Texts that the functions below give point into it and live until
/// the next call. Grows to the largest record and stays there. Not for two threads.
typedef struct mr_json_parser mr_json_parser;

/// A parser of records of at most `bytes_max` bytes, nested at most `depth_max` deep. NULL when there is no memory.
mr_json_parser *_Nullable mr_json_parser_create(size_t bytes_max, size_t depth_max);
void mr_json_parser_destroy(mr_json_parser *_Nullable parser);

/// Reads {"id","key","event_time","features":{…},"label","weight"}. Unknown members are skipped; a list of values
/// becomes consecutive entries of `event->fields`, which must hold `limits->values_max` entries. The whole record is
/// checked: UTF-8, numbers, nesting, nothing after the end.
mr_status mr_json_event_read(mr_json_parser *_Nonnull parser, const char *_Nullable bytes, size_t length,
                             const mr_limits *_Nonnull limits, mr_event *_Nonnull event, mr_problem *_Nonnull problem);
/// Reads {"id","key","event_time","label","weight"}: as above, but `features` is skipped like any unknown member.
mr_status mr_json_label_read(mr_json_parser *_Nonnull parser, const char *_Nullable bytes, size_t length,
                             const mr_limits *_Nonnull limits, mr_event *_Nonnull event, mr_problem *_Nonnull problem);

/// A text of the record.
typedef struct mr_json_text {
  const char *_Nullable bytes;
  size_t length;
} mr_json_text;

/// One named output of a prediction: a run of its numbers or of its texts.
typedef struct mr_json_output {
  mr_json_text name;
  uint32_t value_start, value_count, text_start, text_count;
} mr_json_output;

/// A prediction record. Lists are copied into the caller's arrays. Numbers that are `null` are NaN.
typedef struct mr_json_prediction {
  const char *_Nullable id;
  const char *_Nullable model;
  const char *_Nullable arm;
  const char *_Nullable gap;
  const char *_Nullable error_reason;
  const char *_Nullable error_field;
  const char *_Nullable error_message;
  uint32_t id_length, model_length, arm_length, gap_length;
  uint32_t error_reason_length, error_field_length, error_message_length;
  int64_t version, from, to, labels_through;
  bool has_labels_through, has_error, has_gap;
  float *_Nullable scores;
  uint32_t score_count, scores_max;
  int64_t *_Nullable position;
  uint32_t position_count, position_max;
  mr_json_output *_Nullable outputs;
  double *_Nullable values;
  mr_json_text *_Nullable texts;
  uint32_t output_count, outputs_max, value_count, text_count, elements_max;
} mr_json_prediction;

mr_status mr_json_prediction_read(mr_json_parser *_Nonnull parser, const char *_Nullable bytes, size_t length,
                                  mr_json_prediction *_Nonnull prediction, mr_problem *_Nonnull problem);

/// Writes the shortest decimal text that reads back as the same number; at most 32 bytes, no zero at the end. Returns the
/// count; 0 for what is not finite, which JSON has no text for.
size_t mr_format_float(float value, char *_Nonnull text);
size_t mr_format_double(double value, char *_Nonnull text);
size_t mr_format_integer(int64_t value, char *_Nonnull text);
/// Reads a decimal number, all of the text; false when it is something else or not finite.
bool mr_parse_double(const char *_Nullable text, size_t length, double *_Nonnull value);
bool mr_parse_integer(const char *_Nullable text, size_t length, int64_t *_Nonnull value);

#ifdef __cplusplus
}
#endif
