import Events
import Foundation
import Testing

@Suite struct NumberTextTests {
  private func text(_ write: (OutputBuffer) -> Void) -> String {
    let output = OutputBuffer()
    write(output)
    return String(decoding: output.bytes, as: UTF8.self)
  }

  @Test func floatsReadBackAsTheSame() {
    var values: [Float] = [0, -0.0, 1, -1, 0.1, 1e-45, .leastNormalMagnitude, .greatestFiniteMagnitude, -.greatestFiniteMagnitude, 16_777_217]
    var state: UInt64 = 99
    for _ in 0..<20_000 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      let value = Float(bitPattern: UInt32(state >> 32))
      if value.isFinite { values.append(value) }
    }
    for value in values {
      let written = text { $0.appendDecimal(value) }
      #expect(Float(written)?.bitPattern == value.bitPattern, "\(value) as \(written)")
      // What JSON allows: no inf, no nan, no leading dot.
      #expect((try? JSONSerialization.jsonObject(with: Data(written.utf8), options: .fragmentsAllowed)) != nil, "\(written)")
    }
    #expect(text { $0.appendDecimal(Float(0.1)) } == "0.1")
    #expect(text { $0.appendDecimal(Float.nan) } == "null")
    #expect(text { $0.appendDecimal(Double.infinity) } == "null")
  }

  @Test func doublesAndIntegers() {
    for value in [0.1, 1.0 / 3, 5e-324, Double.greatestFiniteMagnitude, -123456789.125, 1e22, 1e21] {
      #expect(Double(text { $0.appendDecimal(value) }) == value)
    }
    // Digits alone would be an integer that 64 bits cannot hold.
    for value in [123_456_789_012_345_680_000.0, -18_446_744_073_709_551_616.0, 9_223_372_036_854_775_808.0] {
      let written = text { $0.appendDecimal(value) }
      #expect(decode(json: #"{"id":"a","label":\#(written)}"#).decoded?.label == value, "\(written)")
    }
    for value in [0, 1, -1, .max, .min, 1_370_000_000_000] as [Int64] { #expect(text { $0.appendDecimal(value) } == String(value)) }
  }

  @Test func stringsAreEscaped() throws {
    let all = String(String.UnicodeScalarView((0...0x2FF).compactMap(Unicode.Scalar.init))) + "\u{1F6EB}"
    let written = text { $0.appendJSON(all) }
    let read = try JSONSerialization.jsonObject(with: Data(written.utf8), options: .fragmentsAllowed) as? String
    #expect(read == all)
    // What is no UTF-8 must not break the record around it.
    let broken = text { buffer in ([0x61, 0xFF, 0xE9] as [UInt8]).withUnsafeBytes { buffer.appendJSON($0) } }
    #expect(broken == "\"a\u{FFFD}\u{FFFD}\"")
  }
}
