/// The form of `grpc-timeout`: at most eight digits and a unit. Source: gRPC over HTTP2, "Timeout".
public enum GRPCTimeout {
  /// Most bytes of a value.
  public static let byteCountMax = 9
  private static let digitsMax = 8

  /// Nanoseconds of a value; nil when it is none. Eight digits of hours (11,415 years) are more than fits and are given as `.max`.
  public static func nanoseconds(_ text: UnsafeRawBufferPointer) -> Int64? {
    guard text.count >= 2, text.count <= byteCountMax else { return nil }
    var value: Int64 = 0
    for index in 0..<(text.count - 1) {
      let digit = text[index] &- UInt8(ascii: "0")
      guard digit <= 9 else { return nil }
      value = value * 10 + Int64(digit)
    }
    let unit: Int64
    switch text[text.count - 1] {
    case UInt8(ascii: "n"): unit = 1
    case UInt8(ascii: "u"): unit = 1000
    case UInt8(ascii: "m"): unit = 1_000_000
    case UInt8(ascii: "S"): unit = 1_000_000_000
    case UInt8(ascii: "M"): unit = 60_000_000_000
    case UInt8(ascii: "H"): unit = 3_600_000_000_000
    default: return nil
    }
    let (product, overflow) = value.multipliedReportingOverflow(by: unit)
    return overflow ? .max : product
  }

  /// Writes a value at `pointer`, which has room for `byteCountMax` bytes, and returns how many it wrote. The finest unit is taken
  /// that eight digits allow, rounded up, so that the deadline is never before the one asked for.
  public static func write(nanoseconds: Int64, to pointer: UnsafeMutableRawPointer) -> Int {
    let units: [5 of (UInt8, Int64)] = [
      (UInt8(ascii: "n"), 1), (UInt8(ascii: "u"), 1000), (UInt8(ascii: "m"), 1_000_000), (UInt8(ascii: "S"), 1_000_000_000),
      (UInt8(ascii: "M"), 60_000_000_000),
    ]
    let wanted = max(nanoseconds, 1)
    for index in 0..<units.count {
      let (letter, size) = units[index]
      let value = wanted / size + (wanted % size == 0 ? 0 : 1)
      if value <= 99_999_999 { return write(value, letter, to: pointer) }
    }
    return write(min(wanted / 3_600_000_000_000 + 1, 99_999_999), UInt8(ascii: "H"), to: pointer)
  }

  private static func write(_ value: Int64, _ unit: UInt8, to pointer: UnsafeMutableRawPointer) -> Int {
    var digits = 1
    var power: Int64 = 10
    while value >= power {
      digits += 1
      power *= 10
    }
    var rest = value
    for position in stride(from: digits - 1, through: 0, by: -1) {
      pointer.storeBytes(of: UInt8(ascii: "0") + UInt8(rest % 10), toByteOffset: position, as: UInt8.self)
      rest /= 10
    }
    pointer.storeBytes(of: unit, toByteOffset: digits, as: UInt8.self)
    return digits + 1
  }
}
