#include "fields.h"

static bool digits(const char *text, size_t count, int *value) {
  int sum = 0;
  for (size_t i = 0; i < count; i++) {
    if (text[i] < '0' || text[i] > '9') return false;
    sum = sum * 10 + (text[i] - '0');
  }
  *value = sum;
  return true;
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar; years count from March, so that the leap day is the last.
static int64_t days_from_civil(int year, int month, int day) {
  int64_t shifted = month <= 2 ? year - 1 : year;
  int64_t era = (shifted >= 0 ? shifted : shifted - 399) / 400;
  int64_t year_of_era = shifted - era * 400;
  int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + day_of_era - 719468;
}

bool mr_parse_time(const char *text, size_t length, int64_t *milliseconds) {
  static const int month_days[12] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  int year, month, day, hour = 0, minute = 0, second = 0, millisecond = 0;
  if (text == NULL || length < 10 || !digits(text, 4, &year) || text[4] != '-' || !digits(text + 5, 2, &month) ||
      text[7] != '-' || !digits(text + 8, 2, &day))
    return false;
  if (month < 1 || month > 12 || day < 1 || day > month_days[month - 1]) return false;
  if (month == 2 && day == 29 && (year % 4 != 0 || (year % 100 == 0 && year % 400 != 0))) return false;
  int64_t offset_minutes = 0;
  size_t at = 10;
  if (at < length) {
    if ((text[at] != 'T' && text[at] != 't' && text[at] != ' ') || length < 16 || !digits(text + 11, 2, &hour) ||
        text[13] != ':' || !digits(text + 14, 2, &minute))
      return false;
    at = 16;
    if (at + 3 <= length && text[at] == ':') {
      if (!digits(text + at + 1, 2, &second)) return false;
      at += 3;
      if (at < length && text[at] == '.') {
        size_t count = 0;
        int scale = 100;
        for (at++; at < length && text[at] >= '0' && text[at] <= '9'; at++, count++) {
          millisecond += (text[at] - '0') * scale;
          scale /= 10;
        }
        if (count == 0) return false;
      }
    }
    if (at < length && (text[at] == 'Z' || text[at] == 'z')) {
      at++;
    } else if (at + 6 <= length && (text[at] == '+' || text[at] == '-')) {
      int hours, minutes;
      if (!digits(text + at + 1, 2, &hours) || text[at + 3] != ':' || !digits(text + at + 4, 2, &minutes)) return false;
      if (hours > 23 || minutes > 59) return false;
      offset_minutes = (hours * 60 + minutes) * (text[at] == '-' ? -1 : 1);
      at += 6;
    } else {
      return false;  // a time of day without a zone could mean any
    }
  }
  if (at != length || hour > 23 || minute > 59 || second > 60) return false;
  if (second == 60) second = 59, millisecond = 999;  // leap seconds have no place in milliseconds since 1970
  int64_t minutes_total = days_from_civil(year, month, day) * 1440 + hour * 60 + minute - offset_minutes;
  *milliseconds = (minutes_total * 60 + second) * 1000 + millisecond;
  return true;
}
