import NIOCore
import Testing

@testable import EmbeddedBroker

@Suite struct WireTests {
  private func write(flexible: Bool, _ body: (inout WireWriter) -> Void) -> [UInt8] {
    var writer = WireWriter(ByteBuffer())
    writer.flexible = flexible
    body(&writer)
    return Array(writer.buffer.readableBytesView)
  }

  private func sample(_ writer: inout WireWriter) {
    writer.int8(-5)
    writer.int16(-300)
    writer.int32(70_000)
    writer.int64(.min)
    writer.bool(true)
    writer.string("topic")
    writer.nullableString(nil)
    writer.bytes([1, 2, 3])
    writer.array(["a", "bc"]) { $0.string($1) }
    writer.nullArray()
    writer.uuid(TopicID(high: 1, low: 2))
    writer.tags()
  }

  private func readSample(_ reader: inout WireReader) throws(WireError) {
    #expect(try reader.int8("a") == -5)
    #expect(try reader.int16("b") == -300)
    #expect(try reader.int32("c") == 70_000)
    #expect(try reader.int64("d") == .min)
    #expect(try reader.bool("e") == true)
    #expect(try reader.string("f") == "topic")
    #expect(try reader.nullableString("g") == nil)
    #expect(Array(try reader.bytes("h")) == [1, 2, 3])
    #expect(try reader.arrayCount("i", elementBytesMin: 1) == 2)
    #expect(try reader.string("j") == "a")
    #expect(try reader.string("k") == "bc")
    #expect(try reader.nullableArrayCount("l", elementBytesMin: 1) == nil)
    #expect(try reader.uuid("m") == TopicID(high: 1, low: 2))
    try reader.tags()
    #expect(reader.remaining == 0)
  }

  @Test(arguments: [false, true]) func whatIsWrittenIsRead(flexible: Bool) throws {
    let bytes = write(flexible: flexible, sample)
    try bytes.withUnsafeBytes { pointer in
      var reader = WireReader(pointer)
      reader.flexible = flexible
      try readSample(&reader)
    }
  }

  @Test(arguments: [false, true]) func everyTruncationIsAnError(flexible: Bool) {
    let bytes = write(flexible: flexible, sample)
    for count in 0..<bytes.count {
      bytes[..<count].withUnsafeBytes { pointer in
        var reader = WireReader(pointer)
        reader.flexible = flexible
        #expect(throws: WireError.self) {
          _ = try reader.int8("a")
          _ = try reader.int16("b")
          _ = try reader.int32("c")
          _ = try reader.int64("d")
          _ = try reader.bool("e")
          _ = try reader.string("f")
          _ = try reader.nullableString("g")
          _ = try reader.bytes("h")
          for _ in 0..<(try reader.arrayCount("i", elementBytesMin: 1)) { _ = try reader.string("j") }
          _ = try reader.nullableArrayCount("l", elementBytesMin: 1)
          _ = try reader.uuid("m")
          try reader.tags()
        }
      }
    }
  }

  @Test func hostileLengths() {
    func refused(_ bytes: [UInt8], flexible: Bool, _ read: (inout WireReader) throws(WireError) -> Void) -> WireError.Reason? {
      bytes.withUnsafeBytes { pointer in
        var reader = WireReader(pointer)
        reader.flexible = flexible
        do throws(WireError) {
          try read(&reader)
          return nil
        } catch {
          return error.reason
        }
      }
    }
    // A string of -2 bytes, an array of two billion, a varint that never ends.
    #expect(refused([0xFF, 0xFE], flexible: false) { reader throws(WireError) in _ = try reader.string("s") } == .negativeLength)
    #expect(
      refused([0x7F, 0xFF, 0xFF, 0xFF], flexible: false) { reader throws(WireError) in
        _ = try reader.arrayCount("a", elementBytesMin: 1)
      } == .truncated)
    #expect(
      refused([0x80, 0x80, 0x80, 0x80, 0x80, 0x80], flexible: true) { reader throws(WireError) in _ = try reader.bytes("b") } == .tooLong)
    #expect(
      refused([0xFF, 0xFF, 0xFF, 0xFF, 0x7F], flexible: true) { reader throws(WireError) in _ = try reader.bytes("b") } == .tooLong)
    #expect(refused([0, 1, 0xFF], flexible: false) { reader throws(WireError) in _ = try reader.string("s") } == .invalidUTF8)
    #expect(refused([0xFF, 0xFF], flexible: false) { reader throws(WireError) in _ = try reader.string("s") } == .unexpectedNull)
    #expect(
      refused([0xFF, 0xFF, 0xFF, 0xFF, 0x0F], flexible: true) { reader throws(WireError) in try reader.tags() } == .truncated)
  }

  @Test func randomBytesNeverTrap() {
    let seed = UInt64.random(in: .min ... .max)
    print("WireTests seed \(seed)")
    var generator = SeededGenerator(seed: seed)
    for _ in 0..<20_000 {
      let bytes = (0..<Int.random(in: 0...40, using: &generator)).map { _ in UInt8.random(in: 0...255, using: &generator) }
      bytes.withUnsafeBytes { pointer in
        var reader = WireReader(pointer)
        reader.flexible = Bool.random(using: &generator)
        do throws(WireError) {
          while true {
            switch Int.random(in: 0...6, using: &generator) {
            case 0: _ = try reader.nullableString("a")
            case 1: _ = try reader.nullableBytes("b")
            case 2: _ = try reader.nullableArrayCount("c", elementBytesMin: 1)
            case 3: try reader.tags()
            case 4: _ = try reader.unsignedVarint("d")
            case 5: _ = try reader.int64("e")
            default: _ = try reader.uuid("f")
            }
            if reader.remaining == 0 { break }
          }
        } catch {
          #expect(error.position <= bytes.count)
        }
      }
    }
  }
}
