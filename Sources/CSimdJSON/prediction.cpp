#include "parser.h"

#include <limits>

namespace {
using simdjson::dom::element;
using simdjson::dom::element_type;

mr_status read_text(const element &value, std::string_view name, const char *&text, uint32_t &length, mr_problem *problem) {
  std::string_view view;
  if (value.get(view) != simdjson::SUCCESS) return fail(problem, MR_STATUS_WRONG_TYPE, name, "must be a string");
  text = view.data();
  length = clamped(view.size());
  return MR_STATUS_OK;
}

mr_status read_integer(const element &value, std::string_view name, int64_t &integer, mr_problem *problem) {
  if (value.get(integer) != simdjson::SUCCESS) return fail(problem, MR_STATUS_WRONG_TYPE, name, "must be an integer");
  return MR_STATUS_OK;
}

/// A number, or `null`: what is not finite has no text in JSON.
bool read_number(const element &value, double &number) {
  if (value.is_null()) {
    number = std::numeric_limits<double>::quiet_NaN();
    return true;
  }
  return value.get(number) == simdjson::SUCCESS;
}

mr_status add_score(const element &value, mr_json_prediction *to, mr_problem *problem) {
  double score;
  if (!read_number(value, score)) return fail(problem, MR_STATUS_WRONG_TYPE, "score", "must be a number");
  if (to->score_count >= to->scores_max) return fail(problem, MR_STATUS_TOO_MANY_VALUES, "score", "more scores than the bound");
  to->scores[to->score_count++] = float(score);
  return MR_STATUS_OK;
}

mr_status read_scores(const element &value, mr_json_prediction *to, mr_problem *problem) {
  simdjson::dom::array list;
  if (value.get(list) != simdjson::SUCCESS) return add_score(value, to, problem);
  for (element each : list) {
    mr_status status = add_score(each, to, problem);
    if (status != MR_STATUS_OK) return status;
  }
  return MR_STATUS_OK;
}

mr_status read_position(const element &value, mr_json_prediction *to, mr_problem *problem) {
  simdjson::dom::array list;
  if (value.get(list) != simdjson::SUCCESS) return fail(problem, MR_STATUS_WRONG_TYPE, "position", "must be a list of offsets");
  for (element each : list) {
    if (to->position_count >= to->position_max)
      return fail(problem, MR_STATUS_TOO_MANY_VALUES, "position", "more shards than the bound");
    mr_status status = read_integer(each, "position", to->position[to->position_count], problem);
    if (status != MR_STATUS_OK) return status;
    to->position_count++;
  }
  return MR_STATUS_OK;
}

/// Numbers or texts, in lists as deep as the parser allows.
mr_status add_elements(const element &value, mr_json_prediction *to, mr_json_output &output, mr_problem *problem) {
  simdjson::dom::array list;
  if (value.get(list) == simdjson::SUCCESS) {
    for (element each : list) {
      mr_status status = add_elements(each, to, output, problem);
      if (status != MR_STATUS_OK) return status;
    }
    return MR_STATUS_OK;
  }
  if (to->value_count + to->text_count >= to->elements_max)
    return fail(problem, MR_STATUS_TOO_MANY_VALUES, "outputs", "more elements than the bound");
  std::string_view text;
  double number;
  if (value.get(text) == simdjson::SUCCESS && output.value_count == 0) {
    to->texts[to->text_count++] = {text.data(), text.size()};
    output.text_count++;
  } else if (read_number(value, number) && output.text_count == 0) {
    to->values[to->value_count++] = number;
    output.value_count++;
  } else return fail(problem, MR_STATUS_WRONG_TYPE, "outputs", "an output must hold numbers or texts");
  return MR_STATUS_OK;
}

mr_status read_outputs(const element &value, mr_json_prediction *to, mr_problem *problem) {
  simdjson::dom::object outputs;
  if (value.get(outputs) != simdjson::SUCCESS) return fail(problem, MR_STATUS_WRONG_TYPE, "outputs", "must be an object");
  for (auto member : outputs) {
    if (to->output_count >= to->outputs_max) return fail(problem, MR_STATUS_TOO_MANY_VALUES, "outputs", "more outputs than the bound");
    mr_json_output &output = to->outputs[to->output_count++];
    output = {{member.key.data(), member.key.size()}, to->value_count, 0, to->text_count, 0};
    mr_status status = add_elements(member.value, to, output, problem);
    if (status != MR_STATUS_OK) return status;
  }
  return MR_STATUS_OK;
}

mr_status read_error(const element &value, mr_json_prediction *to, mr_problem *problem) {
  simdjson::dom::object error;
  if (value.get(error) != simdjson::SUCCESS) return fail(problem, MR_STATUS_WRONG_TYPE, "error", "must be an object");
  to->has_error = true;
  for (auto member : error) {
    mr_status status = MR_STATUS_OK;
    if (member.key == "reason") status = read_text(member.value, "error.reason", to->error_reason, to->error_reason_length, problem);
    else if (member.key == "field") status = read_text(member.value, "error.field", to->error_field, to->error_field_length, problem);
    else if (member.key == "message")
      status = read_text(member.value, "error.message", to->error_message, to->error_message_length, problem);
    if (status != MR_STATUS_OK) return status;
  }
  return MR_STATUS_OK;
}
}  // namespace

extern "C" mr_status mr_json_prediction_read(mr_json_parser *parser, const char *bytes, size_t length, mr_json_prediction *to,
                                             mr_problem *problem) {
  simdjson::dom::object root;
  mr_status status = parser->read(bytes, length, root, problem);
  if (status != MR_STATUS_OK) return status;
  for (auto member : root) {
    const std::string_view name = member.key;
    const element value = member.value;
    if (name == "id") status = read_text(value, name, to->id, to->id_length, problem);
    else if (name == "model") status = read_text(value, name, to->model, to->model_length, problem);
    else if (name == "version") status = read_integer(value, name, to->version, problem);
    else if (name == "arm") status = read_text(value, name, to->arm, to->arm_length, problem);
    else if (name == "from") status = read_integer(value, name, to->from, problem);
    else if (name == "to") status = read_integer(value, name, to->to, problem);
    else if (name == "score") status = read_scores(value, to, problem);
    else if (name == "outputs") status = read_outputs(value, to, problem);
    else if (name == "position") status = read_position(value, to, problem);
    else if (name == "labels_through") {
      to->has_labels_through = true;
      status = read_integer(value, name, to->labels_through, problem);
    } else if (name == "error") status = read_error(value, to, problem);
    else if (name == "gap") {
      to->has_gap = true;
      status = read_text(value, name, to->gap, to->gap_length, problem);
    }
    if (status != MR_STATUS_OK) return status;
  }
  return MR_STATUS_OK;
}
