#include "parser.h"

#include <new>

extern "C" mr_json_parser *mr_json_parser_create(size_t bytes_max, size_t depth_max) {
  return new (std::nothrow) mr_json_parser(bytes_max, depth_max);
}

extern "C" void mr_json_parser_destroy(mr_json_parser *parser) { delete parser; }

bool mr_json_parser::reserve(size_t length) noexcept {
  if (length > capacity || bytes == nullptr) {
    size_t wanted = length < 4096 ? 4096 : length;
    char *grown = static_cast<char *>(std::realloc(bytes, wanted + simdjson::SIMDJSON_PADDING));
    if (grown == nullptr) return false;
    bytes = grown;
    capacity = wanted;
  }
  if (length > parser.capacity() || parser.max_depth() != depth_max) {
    size_t wanted = capacity < bytes_max ? capacity : bytes_max;
    if (parser.allocate(wanted, depth_max) != simdjson::SUCCESS) return false;
  }
  return true;
}

mr_status mr_json_parser::read(const char *record, size_t length, simdjson::dom::object &root, mr_problem *problem) noexcept {
  if (length > bytes_max) return fail(problem, MR_STATUS_TOO_LARGE, {}, "the record is larger than the bound");
  if (!reserve(length)) return fail(problem, MR_STATUS_NO_MEMORY, {}, "no memory for the record");
  if (length > 0) std::memcpy(bytes, record, length);
  std::memset(bytes + length, 0, simdjson::SIMDJSON_PADDING);
  simdjson::dom::element element;
  auto error = parser.parse(bytes, length, false).get(element);
  switch (error) {
    case simdjson::SUCCESS: break;
    case simdjson::DEPTH_ERROR: return fail(problem, MR_STATUS_TOO_DEEP, {}, "the JSON is nested deeper than the bound");
    case simdjson::UTF8_ERROR: return fail(problem, MR_STATUS_INVALID_UTF8, {}, "the JSON is not valid UTF-8");
    case simdjson::EMPTY: return fail(problem, MR_STATUS_TRUNCATED, {}, "the record is empty");
    case simdjson::MEMALLOC: return fail(problem, MR_STATUS_NO_MEMORY, {}, "no memory for the record");
    case simdjson::NUMBER_ERROR:
      fail(problem, MR_STATUS_OUT_OF_RANGE, {}, "a number is malformed or beyond what 64 bits hold");
      locate(length, problem);
      return problem->status;
    default:
      fail(problem, MR_STATUS_MALFORMED, {}, simdjson::error_message(error));
      locate(length, problem);
      return problem->status;
  }
  if (element.get(root) != simdjson::SUCCESS) return fail(problem, MR_STATUS_MALFORMED, {}, "the JSON is not an object");
  return MR_STATUS_OK;
}

/// Cold: names the member that the parser stumbled over, as the last quoted text followed by a colon before the first value that no
/// JSON value looks like. A hint for people; nothing depends on it.
void mr_json_parser::locate(size_t length, mr_problem *problem) noexcept {
  size_t name_start = 0, name_end = 0, depth = 0;
  for (size_t i = 0; i < length; i++) {
    if (bytes[i] == '{' || bytes[i] == '[') depth++;
    if ((bytes[i] == '}' || bytes[i] == ']') && (depth == 0 || --depth == 0)) return;  // what follows belongs to no member
    if (bytes[i] == '"') {
      size_t start = ++i;
      while (i < length && bytes[i] != '"') i += bytes[i] == '\\' ? 2 : 1;
      if (i >= length) break;
      size_t after = i + 1;
      while (after < length && (bytes[after] == ' ' || bytes[after] == '\n' || bytes[after] == '\t' || bytes[after] == '\r')) after++;
      if (after < length && bytes[after] == ':') name_start = start, name_end = i;
      continue;
    }
    if (std::strchr(" \t\r\n{}[],:", bytes[i]) != nullptr && bytes[i] != 0) continue;
    size_t start = i;
    while (i < length && std::strchr(" \t\r\n{}[],:\"", bytes[i]) == nullptr) i++;
    std::string_view token(bytes + start, i - start);
    i--;
    if (token == "true" || token == "false" || token == "null") continue;
    double number;
    std::string_view digits = token.substr(token[0] == '-' ? 1 : 0);
    bool is_json_start = !digits.empty() && digits[0] >= '0' && digits[0] <= '9' &&
                         !(digits[0] == '0' && digits.size() > 1 && digits[1] >= '0' && digits[1] <= '9');
    bool is_integer = token.find_first_of(".eE") == std::string_view::npos;
    bool is_number = is_json_start && mr_parse_double(token.data(), token.size(), &number) &&
                     !(is_integer && (number > 18446744073709551615.0 || number < -9223372036854775808.0));
    if (!is_number) {
      problem->field = bytes + name_start;
      problem->field_length = clamped(name_end - name_start > 256 ? 256 : name_end - name_start);
      return;
    }
  }
}
