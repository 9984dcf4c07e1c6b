import Testing

@testable import RPC

@Suite struct ProtobufFieldsTests {
  @Test func whatIsWrittenIsRead() throws {
    var writer = ProtobufWriter()
    writer.varint(1, .max)
    writer.text(2, "é")
    writer.double(3, -0.5)
    writer.packed(4, [0, 1, 300, .max])
    writer.packed(5, [])
    writer.varint((1 << 29) - 1, 0)
    var reader = ProtobufReader(writer.bytes, of: "test")
    var numbers: [UInt32] = []
    while let (number, value) = try reader.next() {
      numbers.append(number)
      switch number {
      case 1: #expect(value == .varint(.max))
      case 2: #expect(try reader.text(value, "text") == "é")
      case 3: #expect(value == .fixed64((-0.5).bitPattern))
      case 4: #expect(try reader.numbers(value, "packed") == [0, 1, 300, .max])
      default: #expect(value == .varint(0))
      }
    }
    #expect(numbers == [1, 2, 3, 4, (1 << 29) - 1])
  }

  @Test func randomBytesEnd() {
    var state: UInt64 = 0x7072_6F74
    for _ in 0..<50_000 {
      var bytes: [UInt8] = []
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      for shift in 0..<Int(state >> 61) + 1 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        bytes.append(UInt8(truncatingIfNeeded: state >> UInt64(33 + shift % 8)))
      }
      var reader = ProtobufReader(bytes, of: "test")
      var fields = 0
      while (try? reader.next()) ?? nil != nil, fields <= bytes.count { fields += 1 }
      #expect(fields <= bytes.count, "seed 0x70726F74: \(bytes)")
    }
  }
}
