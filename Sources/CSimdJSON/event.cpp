// Hot: one parse, one walk over simdjson's tape; no memory in the steady state.
#include "parser.h"

namespace {
using simdjson::dom::element;
using simdjson::dom::element_type;

struct Target {
  const mr_limits *limits;
  mr_event *event;
  mr_problem *problem;
};

mr_status read_text(const element &value, std::string_view name, uint32_t bytes_max, const char *&text, uint32_t &length,
                    mr_problem *problem) {
  std::string_view view;
  if (value.get(view) != simdjson::SUCCESS) return fail(problem, MR_STATUS_WRONG_TYPE, name, "must be a string");
  if (view.size() > bytes_max) return fail(problem, MR_STATUS_TOO_LONG, name, "longer than the bound");
  text = view.data();
  length = uint32_t(view.size());
  return MR_STATUS_OK;
}

mr_status read_time(const element &value, std::string_view name, mr_event *event, mr_problem *problem) {
  switch (value.type()) {
    case element_type::INT64:
      event->event_time_ms = value.get_int64().value_unsafe();
      break;
    case element_type::STRING: {
      std::string_view text = value.get_string().value_unsafe();
      if (!mr_parse_time(text.data(), text.size(), &event->event_time_ms))
        return fail(problem, MR_STATUS_INVALID_TIME, name, "not a time as RFC 3339 writes it (2013-06-01T12:00:00Z)");
      break;
    }
    case element_type::NULL_VALUE: return MR_STATUS_OK;
    default:
      return fail(problem, MR_STATUS_WRONG_TYPE, name, "must be milliseconds since 1970 or a string as RFC 3339 writes it");
  }
  event->has_event_time = true;
  return MR_STATUS_OK;
}

mr_status read_number(const element &value, std::string_view name, bool &has, double &number, mr_problem *problem) {
  switch (value.type()) {
    case element_type::INT64: number = double(value.get_int64().value_unsafe()); break;
    case element_type::UINT64: number = double(value.get_uint64().value_unsafe()); break;
    case element_type::DOUBLE: number = value.get_double().value_unsafe(); break;
    case element_type::BOOL: number = value.get_bool().value_unsafe() ? 1 : 0; break;
    case element_type::NULL_VALUE: return MR_STATUS_OK;
    default: return fail(problem, MR_STATUS_WRONG_TYPE, name, "must be a number");
  }
  has = true;
  return MR_STATUS_OK;
}

mr_status add_value(const element &value, std::string_view name, bool is_continued, const Target &to) {
  mr_event *event = to.event;
  if (event->field_count >= to.limits->values_max)
    return fail(to.problem, MR_STATUS_TOO_MANY_VALUES, name, "the record has more feature values than the bound");
  mr_field &entry = event->fields[event->field_count];
  entry.name = name.data();
  entry.name_length = uint32_t(name.size());
  entry.is_continued = is_continued;
  switch (value.type()) {
    case element_type::STRING: {
      std::string_view text = value.get_string().value_unsafe();
      if (text.size() > to.limits->text_bytes_max)
        return fail(to.problem, MR_STATUS_TOO_LONG, name, "the text is longer than the bound");
      entry.kind = MR_KIND_TEXT;
      entry.text = text.data();
      entry.text_length = uint32_t(text.size());
      break;
    }
    case element_type::INT64:
      entry.kind = MR_KIND_INTEGER;
      entry.integer = value.get_int64().value_unsafe();
      break;
    case element_type::UINT64:
      entry.kind = MR_KIND_UNSIGNED;
      entry.integer = int64_t(value.get_uint64().value_unsafe());
      break;
    case element_type::DOUBLE:
      entry.kind = MR_KIND_NUMBER;
      entry.number = value.get_double().value_unsafe();
      break;
    case element_type::BOOL:
      entry.kind = MR_KIND_FLAG;
      entry.integer = value.get_bool().value_unsafe();
      break;
    case element_type::NULL_VALUE: entry.kind = MR_KIND_ABSENT; break;
    default: entry.kind = MR_KIND_NESTED; break;
  }
  event->field_count++;
  return MR_STATUS_OK;
}

mr_status read_features(const element &value, const Target &to) {
  simdjson::dom::object features;
  if (value.get(features) != simdjson::SUCCESS)
    return fail(to.problem, MR_STATUS_WRONG_TYPE, "features", "must be an object of names and values");
  for (auto member : features) {
    if (member.key.size() > to.limits->text_bytes_max)
      return fail(to.problem, MR_STATUS_TOO_LONG, "features", "a feature's name is longer than the bound");
    if (member.value.type() == element_type::ARRAY) {
      simdjson::dom::array list = member.value.get_array().value_unsafe();
      bool is_continued = false;
      for (element each : list) {
        mr_status status = add_value(each, member.key, is_continued, to);
        if (status != MR_STATUS_OK) return status;
        is_continued = true;
      }
    } else {
      mr_status status = add_value(member.value, member.key, false, to);
      if (status != MR_STATUS_OK) return status;
    }
  }
  return MR_STATUS_OK;
}

enum Member : unsigned { memberID = 1, memberKey = 2, memberTime = 4, memberFeatures = 8, memberLabel = 16, memberWeight = 32 };

unsigned member_of(std::string_view key) {
  switch (key.size()) {
    case 2: return key == "id" ? memberID : 0;
    case 3: return key == "key" ? memberKey : 0;
    case 5: return key == "label" ? memberLabel : 0;
    case 6: return key == "weight" ? memberWeight : 0;
    case 8: return key == "features" ? memberFeatures : 0;
    case 10: return key == "event_time" ? memberTime : 0;
    default: return 0;
  }
}

mr_status read_record(mr_json_parser *parser, const char *bytes, size_t length, bool with_features, const mr_limits *limits,
                      mr_event *event, mr_problem *problem) {
  mr_field *fields = event->fields;
  *event = mr_event{};
  event->fields = fields;
  simdjson::dom::object root;
  mr_status status = parser->read(bytes, length, root, problem);
  if (status != MR_STATUS_OK) return status;
  const Target to{limits, event, problem};
  unsigned seen = 0;
  for (auto member : root) {
    const std::string_view name = member.key;
    const unsigned which = member_of(name);
    if (seen & which) return fail(problem, MR_STATUS_DUPLICATE, name, "given twice");
    seen |= which;
    switch (which) {
      case memberID: status = read_text(member.value, name, limits->id_bytes_max, event->id, event->id_length, problem); break;
      case memberKey:
        if (!member.value.is_null())
          status = read_text(member.value, name, limits->text_bytes_max, event->key, event->key_length, problem);
        break;
      case memberTime: status = read_time(member.value, name, event, problem); break;
      case memberFeatures:
        if (with_features) status = read_features(member.value, to);
        break;
      case memberLabel: status = read_number(member.value, name, event->has_label, event->label, problem); break;
      case memberWeight: status = read_number(member.value, name, event->has_weight, event->weight, problem); break;
      default: break;
    }
    if (status != MR_STATUS_OK) return status;
  }
  return MR_STATUS_OK;
}
}  // namespace

extern "C" mr_status mr_json_event_read(mr_json_parser *parser, const char *bytes, size_t length, const mr_limits *limits,
                                        mr_event *event, mr_problem *problem) {
  return read_record(parser, bytes, length, true, limits, event, problem);
}

extern "C" mr_status mr_json_label_read(mr_json_parser *parser, const char *bytes, size_t length, const mr_limits *limits,
                                        mr_event *event, mr_problem *problem) {
  return read_record(parser, bytes, length, false, limits, event, problem);
}
