import RPC
import Testing

@testable import Endpoint

@Suite struct JSONCursorTests {
  private func isJSON(_ text: String) -> Bool { isJSON(Array(text.utf8)) }

  private func isJSON(_ bytes: [UInt8]) -> Bool {
    bytes.withUnsafeBytes { bytes in
      do {
        var cursor = try JSONCursor(bytes)
        try cursor.skip()
        try cursor.end()
        return true
      } catch {
        return false
      }
    }
  }

  @Test(arguments: [
    "{}", "[]", " [ 1 , 2 ] ", "{\"a\":{\"b\":[null,true,false]}}", "0", "-0", "1e5", "1E+5", "-1.5e-7", "\"\"", "\"\\u00e9\\n\\\"\"",
    "\"\\ud83d\\ude00\"", "\"ü\"", "[[[[]]]]", "123456789012345678901234567890",
  ])
  func whatTheGrammarHasIsRead(text: String) { #expect(isJSON(text)) }

  @Test(arguments: [
    "", " ", "{", "}", "[1,]", "[,1]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{\"a\":1 \"b\":2}", "[1 2]", "01", "1.", ".5", "+1", "-", "1e",
    "NaN", "Infinity", "-Infinity", "nul", "tru", "True", "\"", "\"\\x\"", "\"\\u12g4\"", "\"\\ud83d\"", "\"\\ud83d\\n\"", "\"\\ude00\"", "\"a\nb\"",
    "\"\u{1}\"", "'a'", "[1]]", "{} {}", "{\"a\":1,\"a\":2}", "/* */ 1", "0x10", "1_000",
  ])
  func whatItHasNotIsRefused(text: String) { #expect(!isJSON(text)) }

  @Test func depthIsBounded() {
    let most = JSONCursor.depthMax
    #expect(isJSON(String(repeating: "[", count: most) + String(repeating: "]", count: most)))
    #expect(!isJSON(String(repeating: "[", count: most + 1) + String(repeating: "]", count: most + 1)))
    #expect(!isJSON(String(repeating: "[", count: 1_000_000)))
    #expect(!isJSON(String(repeating: "{\"a\":", count: 1_000_000)))
  }

  @Test func bytesThatAreNotUTF8AreRefused() {
    #expect(!isJSON([UInt8(ascii: "\""), 0xC3, UInt8(ascii: "\"")]))
    #expect(!isJSON([UInt8(ascii: "\""), 0xED, 0xA0, 0x80, UInt8(ascii: "\"")]))
    #expect(!isJSON([0xEF, 0xBB, 0xBF, UInt8(ascii: "1")]), "no byte order mark")
  }

  /// Whatever the bytes, reading ends with an answer.
  @Test func mutatedTextsEnd() {
    var generator = Seeded(seed: 0x6A73_6F6E)
    let seeds = ["{\"id\":\"a\\u00e9\",\"inputs\":[{\"name\":\"x\",\"shape\":[1,-1],\"data\":[[1.5e3,true,null]]}]}", "[\"\\ud83d\\ude00\", 1e400, -0.0]"]
    var accepted = 0
    for _ in 0..<20_000 {
      var bytes = Array(seeds[Int.random(in: 0..<seeds.count, using: &generator)].utf8)
      for _ in 0..<Int.random(in: 0...4, using: &generator) {
        let place = Int.random(in: 0..<bytes.count, using: &generator)
        switch Int.random(in: 0..<3, using: &generator) {
        case 0: bytes[place] = UInt8.random(in: 0...255, using: &generator)
        case 1: if bytes.count > 1 { bytes.remove(at: place) }
        default: bytes.insert("{}[]\",:\\0e-".utf8.randomElement(using: &generator) ?? 0, at: place)
        }
      }
      if isJSON(bytes) { accepted += 1 }
    }
    #expect(accepted > 1000 && accepted < 19_000, "\(accepted) of 20000 were JSON (seed 0x6A736F6E)")
  }

  private func number(_ text: String) throws -> JSONNumber {
    // The text outlives the number: it is static.
    let bytes = Array(text.utf8)
    let kept = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
    kept.copyBytes(from: bytes)
    var cursor = try JSONCursor(UnsafeRawBufferPointer(kept))
    return try cursor.number()
  }

  @Test func integersAreExactOrNone() throws {
    #expect(try number("9223372036854775807").integer(as: Int64.self) == .max)
    #expect(try number("-9223372036854775808").integer(as: Int64.self) == .min)
    #expect(try number("9223372036854775808").integer(as: Int64.self) == nil)
    #expect(try number("18446744073709551615").integer(as: UInt64.self) == .max)
    #expect(try number("18446744073709551616").integer(as: UInt64.self) == nil)
    #expect(try number("-1").integer(as: UInt8.self) == nil)
    #expect(try number("-0").integer(as: UInt8.self) == 0)
    #expect(try number("-128").integer(as: Int8.self) == -128)
    #expect(try number("128").integer(as: Int8.self) == nil)
    #expect(try number("3.0").integer(as: Int8.self) == 3)
    #expect(try number("3e2").integer(as: Int32.self) == 300)
    #expect(try number("3.5").integer(as: Int64.self) == nil)
    #expect(try number("1e400").integer(as: Int64.self) == nil)
    #expect(try number("1e19").integer(as: Int64.self) == nil)
    #expect(try number(String(repeating: "9", count: 100_000)).integer(as: Int64.self) == nil)
  }

  @Test func numbersAreFiniteOrNone() throws {
    #expect(try number("1e400").double == nil)
    #expect(try number("-1e400").double == nil)
    #expect(try number("1e-400").double == 0)
    #expect(try number("1e39").float == nil)
    #expect(try number("3.4028235e38").float == .greatestFiniteMagnitude)
    #expect(try number(String(repeating: "9", count: 100_000)).double == nil)
    #expect(try number("0." + String(repeating: "1", count: 500)).double == 0.1111111111111111)
  }
}

/// A generator whose seed a test prints.
struct Seeded: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var value = state
    value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
    return value ^ (value >> 31)
  }
}
