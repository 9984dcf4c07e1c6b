#pragma once
#include <simdjson.h>

#include <cstdlib>
#include <cstring>
#include <string_view>

#include "CSimdJSON.h"

struct mr_json_parser {
  simdjson::dom::parser parser;
  char *bytes = nullptr;
  size_t capacity = 0;
  size_t bytes_max;
  size_t depth_max;

  explicit mr_json_parser(size_t bytes_max, size_t depth_max) : parser(bytes_max), bytes_max(bytes_max), depth_max(depth_max) {}
  ~mr_json_parser() { std::free(bytes); }
  mr_json_parser(const mr_json_parser &) = delete;
  mr_json_parser &operator=(const mr_json_parser &) = delete;

  /// Copies and parses the record; on success `root` is its object.
  mr_status read(const char *record, size_t length, simdjson::dom::object &root, mr_problem *problem) noexcept;

 private:
  bool reserve(size_t length) noexcept;
  void locate(size_t length, mr_problem *problem) noexcept;
};

inline mr_status fail(mr_problem *problem, mr_status status, std::string_view field, const char *detail) {
  return mr_fail(problem, status, field.data(), field.size(), detail);
}

inline uint32_t clamped(size_t length) { return length > UINT32_MAX ? UINT32_MAX : uint32_t(length); }
