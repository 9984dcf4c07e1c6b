// Hot: the standard library's conversions neither allocate nor look at the locale.
#include <charconv>
#include <cmath>
#include <string_view>

#include "CSimdJSON.h"

namespace {
constexpr size_t textMax = 32;

template <typename Number>
size_t format(Number value, char *text) {
  auto result = std::to_chars(text, text + textMax, value);
  return result.ec == std::errc() ? size_t(result.ptr - text) : 0;
}
}  // namespace

extern "C" size_t mr_format_float(float value, char *text) { return std::isfinite(value) ? format(value, text) : 0; }
extern "C" size_t mr_format_double(double value, char *text) {
  if (!std::isfinite(value)) return 0;
  size_t count = format(value, text);
  // Readers take digits alone for an integer, which beyond 64 bits they refuse.
  constexpr double integerBound = 9.2e18;
  if (std::fabs(value) >= integerBound && std::string_view(text, count).find_first_of(".e") == std::string_view::npos) {
    text[count++] = '.';
    text[count++] = '0';
  }
  return count;
}
extern "C" size_t mr_format_integer(int64_t value, char *text) { return format(value, text); }

extern "C" bool mr_parse_double(const char *text, size_t length, double *value) {
  if (text == nullptr) return false;
  if (length > 0 && *text == '+') text++, length--;
  auto result = std::from_chars(text, text + length, *value);
  return result.ec == std::errc() && result.ptr == text + length && std::isfinite(*value);
}

extern "C" bool mr_parse_integer(const char *text, size_t length, int64_t *value) {
  if (text == nullptr) return false;
  auto result = std::from_chars(text, text + length, *value);
  return result.ec == std::errc() && result.ptr == text + length;
}
