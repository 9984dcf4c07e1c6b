/// ISO 8601 in UTC with milliseconds, without Foundation's formatters: a log line needs one each time.
enum Timestamp {
  /// `2013-06-01T12:00:00.000Z` for milliseconds since 1970.
  static func text(milliseconds: Int64) -> String {
    let (days, rest) = floorDivide(milliseconds, 86_400_000)
    let (year, month, day) = civil(daysSince1970: days)
    return "\(pad(year, 4))-\(pad(month, 2))-\(pad(day, 2))T"
      + "\(pad(rest / 3_600_000, 2)):\(pad(rest / 60_000 % 60, 2)):\(pad(rest / 1000 % 60, 2)).\(pad(rest % 1000, 3))Z"
  }

  /// Milliseconds since 1970 for `2013-06-01`, `2013-06-01T12:00:00Z` or with a fraction of up to three
  /// digits; nil for anything else. Only UTC.
  static func milliseconds(_ text: String) -> Int64? {
    let parts = text.split(separator: "T", maxSplits: 1, omittingEmptySubsequences: false)
    guard let date = parts.first else { return nil }
    let numbers = date.split(separator: "-", omittingEmptySubsequences: false)
    guard numbers.count == 3, let year = digits(numbers[0], 4), let month = digits(numbers[1], 2),
      let day = digits(numbers[2], 2), (1...12).contains(month), (1...31).contains(day)
    else { return nil }
    let days = daysSince1970(year, month, day)
    // The 30th of February comes back as another day.
    guard civil(daysSince1970: days) == (year, month, day) else { return nil }
    guard parts.count == 2 else { return days * 86_400_000 }
    guard parts[1].hasSuffix("Z") else { return nil }
    let clock = parts[1].dropLast().split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
    let fields = clock[0].split(separator: ":", omittingEmptySubsequences: false)
    guard fields.count == 3, let hour = digits(fields[0], 2), let minute = digits(fields[1], 2),
      let second = digits(fields[2], 2), hour < 24, minute < 60, second < 60
    else { return nil }
    var fraction: Int64 = 0
    if clock.count == 2 {
      guard (1...3).contains(clock[1].count), let value = digits(clock[1], clock[1].count) else { return nil }
      fraction = clock[1].count == 1 ? value * 100 : clock[1].count == 2 ? value * 10 : value
    }
    return days * 86_400_000 + ((hour * 60 + minute) * 60 + second) * 1000 + fraction
  }

  private static func digits(_ text: Substring, _ count: Int) -> Int64? {
    guard text.utf8.count == count, text.utf8.allSatisfy({ (48...57).contains($0) }) else { return nil }
    return Int64(text)
  }

  private static func floorDivide(_ value: Int64, _ by: Int64) -> (quotient: Int64, remainder: Int64) {
    let remainder = value % by
    return remainder < 0 ? (value / by - 1, remainder + by) : (value / by, remainder)
  }

  private static func pad(_ value: Int64, _ width: Int) -> String {
    let text = String(value)
    return String(repeating: "0", count: max(0, width - text.count)) + text
  }

  /// The proleptic Gregorian calendar by eras of 400 years, which all have the same number of days.
  /// Years start in March here, so that the leap day is the last day of a year.
  private static func civil(daysSince1970 days: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let (era, dayOfEra) = floorDivide(days + 719_468, 146_097)
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let monthFromMarch = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
    let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
  }

  private static func daysSince1970(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
    let (era, yearOfEra) = floorDivide(month <= 2 ? year - 1 : year, 400)
    let monthFromMarch = month > 2 ? month - 3 : month + 9
    let dayOfYear = (153 * monthFromMarch + 2) / 5 + day - 1
    let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
    return era * 146_097 + dayOfEra - 719_468
  }
}
