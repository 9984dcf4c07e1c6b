import CMessages

/// Event times: milliseconds since 1970-01-01T00:00:00Z, and their texts.
public enum EventTime {
  /// Reads milliseconds (a whole number) or a time as RFC 3339 writes it; nil for anything else.
  public static func parse(_ text: UnsafeRawBufferPointer) -> Int64? {
    var milliseconds: Int64 = 0
    guard mr_parse_time(text.baseAddress?.assumingMemoryBound(to: CChar.self), text.count, &milliseconds) else {
      return Int64(text.text)
    }
    return milliseconds
  }

  /// As RFC 3339 writes it, in UTC: "2013-06-01T12:00:00Z", with milliseconds when there are any.
  public static func text(_ milliseconds: Int64) -> String {
    let (days, rest) = floored(milliseconds, 86_400_000)
    // Days to year, month and day in the proleptic Gregorian calendar, years counted from March.
    let (era, dayOfEra) = floored(days + 719_468, 146_097)
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shifted = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * shifted + 2) / 5 + 1
    let month = shifted < 10 ? shifted + 3 : shifted - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    let time = "\(padded(rest / 3_600_000, 2)):\(padded(rest / 60_000 % 60, 2)):\(padded(rest / 1000 % 60, 2))"
    let fraction = rest % 1000 == 0 ? "" : ".\(padded(rest % 1000, 3))"
    return "\(padded(year, 4))-\(padded(month, 2))-\(padded(day, 2))T\(time)\(fraction)Z"
  }

  private static func floored(_ value: Int64, _ size: Int64) -> (quotient: Int64, rest: Int64) {
    let (quotient, rest) = value.quotientAndRemainder(dividingBy: size)
    return rest < 0 ? (quotient - 1, rest + size) : (quotient, rest)
  }

  private static func padded(_ value: Int64, _ width: Int) -> String {
    let digits = String(value.magnitude)
    return (value < 0 ? "-" : "") + String(repeating: "0", count: max(0, width - digits.count)) + digits
  }
}
