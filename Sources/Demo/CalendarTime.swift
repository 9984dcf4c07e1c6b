/// UTC calendar arithmetic on seconds since 1970, without a calendar library: proleptic Gregorian, as ISO 8601.
enum CalendarTime {
  static let secondsPerDay: Int64 = 86_400

  /// Days since 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
  static func days(year: Int, month: Int, day: Int) -> Int64 {
    let y = Int64(month <= 2 ? year - 1 : year)
    let era = (y >= 0 ? y : y - 399) / 400
    let yearOfEra = y - era * 400
    let dayOfYear = Int64((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1)
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }

  static func civil(days: Int64) -> (year: Int, month: Int, day: Int) {
    let z = days + 719_468
    let era = (z >= 0 ? z : z - 146_096) / 146_097
    let dayOfEra = z - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shifted = (5 * dayOfYear + 2) / 153
    let month = Int(shifted < 10 ? shifted + 3 : shifted - 9)
    return (Int(yearOfEra + era * 400) + (month <= 2 ? 1 : 0), month, Int(dayOfYear - (153 * shifted + 2) / 5 + 1))
  }

  /// Monday is 0.
  static func weekday(seconds: Int64) -> Int {
    let days = floorDivide(seconds, secondsPerDay)
    return Int(((days + 3) % 7 + 7) % 7)
  }

  static func floorDivide(_ value: Int64, _ by: Int64) -> Int64 {
    let quotient = value / by
    return value % by < 0 ? quotient - 1 : quotient
  }

  /// Reads `2013-01-01T10:00:00Z` or `2013-01-01 10:00:00`; nil for anything else.
  static func seconds(_ text: UnsafeRawBufferPointer) -> Int64? {
    guard text.count == 19 || (text.count == 20 && text[19] == UInt8(ascii: "Z")) else { return nil }
    guard text[4] == UInt8(ascii: "-"), text[7] == UInt8(ascii: "-"), text[13] == UInt8(ascii: ":"), text[16] == UInt8(ascii: ":"),
      text[10] == UInt8(ascii: "T") || text[10] == UInt8(ascii: " ")
    else { return nil }
    func digits(_ from: Int, _ count: Int) -> Int? {
      var value = 0
      for byte in text[from..<from + count] {
        guard byte >= 48, byte <= 57 else { return nil }
        value = value * 10 + Int(byte - 48)
      }
      return value
    }
    guard let year = digits(0, 4), let month = digits(5, 2), let day = digits(8, 2), let hour = digits(11, 2),
      let minute = digits(14, 2), let second = digits(17, 2), (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60,
      second < 60
    else { return nil }
    return days(year: year, month: month, day: day) * secondsPerDay + Int64(hour * 3600 + minute * 60 + second)
  }

  /// `2013-04-01`.
  static func date(milliseconds: Int64) -> String {
    let date = civil(days: floorDivide(milliseconds, secondsPerDay * 1000))
    return "\(date.year)-\(padded(date.month))-\(padded(date.day))"
  }

  /// `2013-04-01 16:45`.
  static func minute(milliseconds: Int64) -> String {
    let ofDay = (milliseconds - floorDivide(milliseconds, secondsPerDay * 1000) * secondsPerDay * 1000) / 60_000
    return "\(date(milliseconds: milliseconds)) \(padded(Int(ofDay / 60))):\(padded(Int(ofDay % 60)))"
  }

  static func padded(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
}
