/// The texts of numbers, durations and sizes. Each returns nil when the text is none or does not fit.
enum SettingsScalar {
  static func int(_ text: String) -> Int? {
    guard !text.hasPrefix("_"), !text.hasSuffix("_") else { return nil }
    return Int(text.filter { $0 != "_" })
  }

  static func double(_ text: String) -> Double? {
    guard !text.hasPrefix("_"), !text.hasSuffix("_") else { return nil }
    // Not every spelling that Swift takes: no "nan", no "inf", no hexadecimal.
    guard text.utf8.allSatisfy({ (48...57).contains($0) || "+-._eE".utf8.contains($0) }) else { return nil }
    guard let value = Double(text.filter { $0 != "_" }), value.isFinite else { return nil }
    return value
  }

  static func microseconds(_ text: String) -> Int? {
    let units: [(String, Int)] = [
      ("us", 1), ("ms", 1000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000),
    ]
    return text == "0" ? 0 : scaled(text, units)
  }

  static func bytes(_ text: String) -> Int? {
    let units: [(String, Int)] = [
      ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40), ("KB", 1000), ("kB", 1000), ("MB", 1_000_000),
      ("GB", 1_000_000_000), ("TB", 1_000_000_000_000), ("B", 1), ("", 1),
    ]
    return scaled(text, units)
  }

  /// A non-negative number, possibly with a fraction, and one of `units`; the result must be whole.
  private static func scaled(_ text: String, _ units: [(String, Int)]) -> Int? {
    let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == "." || $0 == "_") }
    let unit = text.dropFirst(digits.count).drop { $0 == " " }
    guard let factor = units.first(where: { $0.0 == unit })?.1, !digits.isEmpty else { return nil }
    if let whole = int(String(digits)) {
      let (product, overflow) = whole.multipliedReportingOverflow(by: factor)
      return overflow ? nil : product
    }
    guard let fraction = double(String(digits)) else { return nil }
    let product = fraction * Double(factor)
    guard product <= 1e15, product == product.rounded() else { return nil }
    return Int(product)
  }
}
