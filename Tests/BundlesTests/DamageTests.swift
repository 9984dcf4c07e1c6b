import Bundles
import Model
import Testing

/// Damaged, cut off and hostile files: refused with a place and a reason, or read as what was written; never a trap.
@Suite struct DamageTests {
  /// What can be read of a bundle, as one value.
  private func content(_ bytes: [UInt8], _ verifying: ModelBundle.Verification) throws(BundleError) -> [String: [UInt8]] {
    let result = bytes.withUnsafeBytes { bytes in
      Result { () throws(BundleError) -> [String: [UInt8]] in
        let bundle = try ModelBundle.read(bytes, verifying: verifying)
        var content = ["": bundle.manifest.json.encoded()]
        for section in bundle.sections { content["\(section.element)\(section.shape)\(section.name)"] = Array(try bundle.bytes(section.name)) }
        return content
      }
    }
    return try result.get()
  }

  @Test func everyBitOfASmallBundle() throws {
    let whole = try SmallBundle.writer(hasLarge: false).encoded()
    let expected = try content(whole, .everything)
    var refused = 0
    for at in whole.indices {
      var bytes = whole
      bytes[at] ^= 1 << UInt8(at % 8)
      do {
        let found = try content(bytes, .everything)
        #expect(found == expected, "a flipped bit in byte \(at) went by unnoticed")
      } catch {
        refused += 1
        #expect(!error.place.isEmpty && !error.reason.isEmpty)
      }
    }
    #expect(refused == whole.count, "every byte is covered by a checksum or must be zero")
  }

  @Test func everyTruncation() throws {
    let whole = try SmallBundle.writer(hasLarge: false).encoded()
    for count in 0..<whole.count {
      #expect(throws: BundleError.self, "\(count) of \(whole.count) bytes") { try content(Array(whole[..<count]), .headers) }
    }
    #expect(throws: BundleError.self) { try content(whole + [0], .headers) }
  }

  /// Random damage whose checksums are made to hold again: what a hostile writer could send.
  @Test func damageBehindRightChecksums() throws {
    let whole = try SmallBundle.writer(hasLarge: false).encoded()
    let seed = UInt64.random(in: 0...UInt64.max)
    var generator = SplitMix(state: seed)
    let manifestEnd = 64 + Int(whole.word64(32))
    let directory = Int(whole.word64(40))
    let end = directory + Int(whole.word32(48)) * 96 + SmallBundle.writer(hasLarge: false).sections.reduce(0) { $0 + $1.name.utf8.count }
    var opened = 0
    for _ in 0..<4_000 {
      var bytes = whole
      for _ in 0..<Int.random(in: 1...3, using: &generator) {
        let range = [8..<60, 64..<manifestEnd, directory..<end][Int.random(in: 0..<3, using: &generator)]
        let at = Int.random(in: range, using: &generator)
        switch Int.random(in: 0..<3, using: &generator) {
        case 0: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
        case 1: bytes[at] = UInt8.random(in: 0...255, using: &generator)
        default: bytes[at] = 0xFF
        }
      }
      bytes.seal()
      if (try? content(bytes, .everything)) != nil { opened += 1 }
    }
    // Some damage (a letter of a name) makes another bundle that is whole; most does not.
    #expect(opened < 2_000, "seed \(seed): \(opened) of 4000 damaged bundles were opened")
  }

  @Test func hostileDirectories() throws {
    func refusal(_ change: (inout [UInt8], _ directory: Int) -> Void) -> String {
      do {
        var bytes = try SmallBundle.writer(hasLarge: false).encoded()
        change(&bytes, Int(bytes.word64(40)))
        bytes.seal()
        _ = try content(bytes, .headers)
        return "opened"
      } catch { return "\(error)" }
    }
    #expect(refusal { _, _ in } == "opened")
    // Section 1 where section 0 stands.
    #expect(refusal { $0.set64($1 + 96, $0.word64($1)) }.contains("section \"bias\": begins at byte"))
    #expect(refusal { $0.set64($1, $0.word64($1) + 4) }.contains("no multiple of 64"))
    #expect(refusal { $0.set64($1 + 96 * 3, 1 << 40) }.contains("do not lie within the file"))
    #expect(refusal { $0.set64($1, UInt64.max - 63) }.contains("more than a file can have"))
    #expect(refusal { $0.set64($1 + 8, UInt64.max) }.contains("section \"weights\": 18446744073709551615 bytes"))
    #expect(refusal { $0.set64($1 + 32, UInt64.max) }.contains("dimension 0 of 1"))
    // A shape whose product overflows.
    #expect(refusal { bytes, at in
      bytes[at + 27] = 8
      for axis in 0..<8 { bytes.set64(at + 32 + axis * 8, 1 << 40) }
    }.contains("not what FP32"))
    #expect(refusal { $0[$1 + 27] = 9 }.contains("9 dimensions"))
    #expect(refusal { $0[$1 + 26] = 99 }.contains("kind 99"))
    #expect(refusal { $0.set32($1 + 20, 7) }.contains("its name is not where it should be"))
    // Two sections of one name: "bias" begins where "weights" does is refused before; so the names' bytes are changed.
    #expect(refusal { bytes, at in
      let names = at + 96 * 4
      for (index, letter) in "emptyempt".utf8.enumerated() { bytes[names + 7 + index] = letter }
      bytes.set32(at + 96 + 24, UInt32(5) | 0x0200_0000)
    }.contains("section"))
    #expect(refusal { bytes, _ in bytes.set32(48, UInt32.max) }.contains("a directory of 4294967295 sections"))
    #expect(refusal { bytes, _ in bytes.set64(32, UInt64.max) }.contains("a manifest of 18446744073709551615 bytes"))
    #expect(refusal { bytes, _ in bytes.set64(40, UInt64.max - 7) }.contains("a directory of 4 sections"))
    #expect(refusal { bytes, _ in bytes.set64(16, 1) }.contains("added to"))
    #expect(refusal { bytes, _ in bytes.set32(8, 2) }.contains("format version 2, this build reads up to 1: update millrace"))
    #expect(refusal { bytes, _ in bytes.set32(8, 0) }.contains("none that ever was"))
  }

  @Test func hostileManifests() throws {
    func refusal(_ text: String) -> String {
      do {
        _ = try BundleManifest(json: Array(text.utf8).withUnsafeBytes { try JSONValue.decode($0, place: "manifest") })
        return "read"
      } catch { return "\(error)" }
    }
    let good = #"{"name":"m","version":1,"family":"x","family_version":1,"inputs":[],"outputs":[{"name":"y","datatype":"FP32","shape":[1]}]}"#
    #expect(refusal(good) == "read")
    #expect(refusal(String(repeating: "[", count: 100_000)).contains("nested more than 32 deep"))
    #expect(refusal(#"{"a":1,"a":2}"#).contains("key \"a\" is there twice"))
    #expect(refusal("{") == "manifest, byte 1: expected a key")
    #expect(refusal("") == "manifest, byte 0: the text ends where a value is due")
    #expect(refusal("[1e999]").contains("too large"))
    #expect(refusal("[01]").contains("malformed"))
    #expect(refusal("[\"\\ud800\"]").contains("half of a surrogate pair"))
    #expect(refusal("[\"\u{01}\"]").contains("control character"))
    #expect(refusal(good + "x").contains("something after the value"))
    #expect(refusal(good.replacing("\"version\":1,", with: "\"version\":0,")) == "manifest.version: 0 is outside of 1 to 2147483647")
    #expect(refusal(good.replacing("\"family\":\"x\",", with: "")) == "manifest.family: missing")
    #expect(refusal(good.replacing("[1]}", with: "[4294967296,4294967296]}")).contains("more than 1099511627776 elements"))
    #expect(refusal(good.replacing("[1]}", with: "[-1]}")) == "manifest.outputs[0].shape[0]: expected a whole number from 0 to 1099511627776, found -1")
    #expect(refusal(good.replacing("FP32", with: "FP8")).contains("\"FP8\" is none of FP32"))
    #expect(refusal(good.replacing("[]", with: #"[{"name":"i","datatype":"FP32","shape":[1],"offset":3}]"#)).contains("3 is no multiple of 4"))
  }

  @Test func hostileNamesOfCategories() throws {
    func refusal(_ categories: String, datatype: String = "FP32", absent: String = #""nan""#) -> String {
      let text = #"{"name":"m","version":1,"family":"x","family_version":1,"inputs":[{"name":"i","datatype":"\#(datatype)","shape":[2],"offset":0,"#
        + #""absent":\#(absent),"categories":\#(categories)}],"outputs":[{"name":"y","datatype":"FP32","shape":[1]}]}"#
      do {
        _ = try BundleManifest(json: Array(text.utf8).withUnsafeBytes { try JSONValue.decode($0, place: "manifest") })
        return "read"
      } catch { return "\(error)" }
    }
    let place = "manifest.inputs[0].categories"
    #expect(refusal(#"[{"column":0,"names":["a"]},{"column":1,"names":[3,2.5,true,"x"]}]"#) == "read")
    #expect(refusal("[]") == "read")
    #expect(refusal("3") == "\(place): expected a list, found a whole number")
    #expect(refusal("[3]") == "\(place)[0]: expected an object, found a whole number")
    #expect(refusal(#"[{"column":2,"names":["a"]}]"#) == "\(place)[0].column: 2 of 2 columns")
    #expect(refusal(#"[{"column":-1,"names":["a"]}]"#).hasPrefix("\(place)[0].column: -1 is outside of 0"))
    #expect(refusal(#"[{"column":1,"names":["a"]},{"column":1,"names":["a"]}]"#) == "\(place)[1].column: 1 stands behind 1: they must ascend")
    #expect(refusal(#"[{"column":1}]"#) == "\(place)[0].names: missing")
    #expect(refusal(#"[{"column":1,"names":[]}]"#) == "\(place)[0].names: no names")
    #expect(refusal(#"[{"column":1,"names":["a","b","a"]}]"#) == "\(place)[0].names[2]: it is the same as name 0")
    #expect(refusal(#"[{"column":1,"names":["a",null]}]"#) == "\(place)[0].names[1]: expected a text, a number or a boolean, found null")
    #expect(refusal(#"[{"column":1,"names":[["a"]]}]"#) == "\(place)[0].names[0]: expected a text, a number or a boolean, found a list")
    let long = String(repeating: "x", count: 1025)
    #expect(refusal(#"[{"column":1,"names":["\#(long)"]}]"#) == "\(place)[0].names[0]: a name of 1025 bytes, at most 1024 are allowed")
    #expect(refusal(#"[{"column":1,"names":["a"]}]"#, datatype: "INT64").hasPrefix("\(place): names are for inputs of FP32 or FP64"))
    #expect(refusal(#"[{"column":1,"names":["a"]}]"#, absent: "0").hasPrefix("\(place): names are for inputs of FP32 or FP64"))
    // Too many in one column, and in two together.
    func many(_ count: Int) -> String { "[" + (0..<count).map(String.init).joined(separator: ",") + "]" }
    #expect(refusal(#"[{"column":1,"names":\#(many(CategoryNames.countMax + 1))}]"#).contains("at most 1048576 are allowed"))
    #expect(refusal(#"[{"column":0,"names":\#(many(CategoryNames.countMax / 2 + 1))},{"column":1,"names":\#(many(CategoryNames.countMax / 2))}]"#)
      .hasPrefix("manifest.inputs: 1048577 names of categories"))
  }

  @Test func JSONIsReadAsItWasWritten() throws {
    let value: JSONValue = [
      "text": "a\"\\\n\t\u{1}ü🙂", "list": [1, -2.5, true, .null, [], [:]], "large": .integer(.max), "small": .integer(.min), "tiny": 5e-324,
      "whole": 1e15, "nan": JSONValue(Double.nan),
    ]
    let text = value.encoded()
    #expect(try text.withUnsafeBytes { try JSONValue.decode($0, place: "") } == value)
    let escaped = Array(#"["\u00fc\ud83d\ude42\/\b\f", 12345678901234567890]"#.utf8)
    #expect(try escaped.withUnsafeBytes { try JSONValue.decode($0, place: "") } == ["ü🙂/\u{8}\u{c}", .number(12_345_678_901_234_567_890)])
  }
}

private struct SplitMix: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

extension [UInt8] {
  func word64(_ at: Int) -> UInt64 { (0..<8).reduce(0) { $0 | UInt64(self[at + $1]) << UInt64(8 * $1) } }
  func word32(_ at: Int) -> UInt32 { (0..<4).reduce(0) { $0 | UInt32(self[at + $1]) << UInt32(8 * $1) } }
  mutating func set64(_ at: Int, _ value: UInt64) { for i in 0..<8 { self[at + i] = UInt8(truncatingIfNeeded: value >> UInt64(8 * i)) } }
  mutating func set32(_ at: Int, _ value: UInt32) { for i in 0..<4 { self[at + i] = UInt8(truncatingIfNeeded: value >> UInt32(8 * i)) } }

  /// Makes the checksums of header, manifest and directory hold, as far as these lie within the file.
  mutating func seal() {
    let manifestBytes = word64(32)
    let directory = word64(40)
    let sections = UInt64(word32(48))
    if manifestBytes <= UInt64(count - 64) { set32(52, Self.crc(self[64..<(64 + Int(manifestBytes))])) }
    if directory <= UInt64(count), sections <= 1_000, directory + sections * 96 <= UInt64(count), sections > 0 {
      let last = Int(directory + sections * 96) - 96
      let end = Int(directory + sections * 96) + Int(word32(last + 20)) + Int(word32(last + 24) & 0xFFFF)
      if end <= count { set32(56, Self.crc(self[Int(directory)..<end])) }
    }
    set32(60, Self.crc(self[0..<60]))
  }

  private static func crc(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    var c = ~UInt32(0)
    for byte in bytes {
      c ^= UInt32(byte)
      for _ in 0..<8 { c = c >> 1 ^ (c & 1 == 1 ? 0x82F6_3B78 : 0) }
    }
    return ~c
  }
}
