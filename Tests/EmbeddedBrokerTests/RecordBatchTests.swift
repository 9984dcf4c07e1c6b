import Testing

@testable import EmbeddedBroker

@Suite struct RecordBatchTests {
  private func refusal(_ bytes: [UInt8], bytesMax: Int = 1 << 20) -> ErrorCode? {
    bytes.withUnsafeBytes { pointer in
      switch RecordBatchHeader.validate(pointer, bytesMax: bytesMax) {
      case .success: nil
      case .failure(let refusal): refusal.code
      }
    }
  }

  @Test func anIntactBatchPasses() {
    let bytes = TestBatch(["a", "b", "c"]).bytes
    #expect(refusal(bytes) == nil)
    #expect(TestBatch.read(bytes)?.map(\.value) == ["a", "b", "c"])
  }

  @Test func everyTruncationIsRefused() {
    let bytes = TestBatch(["hello", "world"]).bytes
    for count in 0..<bytes.count { #expect(refusal(Array(bytes[..<count])) != nil) }
  }

  @Test func everyFlippedBitBehindThePatchedHeadIsRefused() {
    let bytes = TestBatch(["hello"]).bytes
    for index in RecordBatchHeader.patchedBytes..<bytes.count {
      for bit in 0..<8 {
        var damaged = bytes
        damaged[index] ^= 1 << UInt8(bit)
        #expect(refusal(damaged) != nil, "byte \(index) bit \(bit)")
      }
    }
  }

  @Test func reasonsAreTold() {
    let bytes = TestBatch(["hello"]).bytes
    #expect(refusal(bytes + bytes) == .invalidRecord)
    #expect(refusal(bytes, bytesMax: bytes.count - 1) == .messageTooLarge)
    var old = bytes
    old[16] = 1
    #expect(refusal(old) == .unsupportedForMessageFormat)
    var damaged = bytes
    damaged[bytes.count - 1] ^= 1
    #expect(refusal(damaged) == .corruptMessage)
    var transactional = TestBatch(["x"])
    transactional.attributes = 0x10
    #expect(refusal(transactional.bytes) == .invalidRecord)
    var control = TestBatch(["x"])
    control.attributes = 0x20
    #expect(refusal(control.bytes) == .invalidRecord)
    var noEpoch = TestBatch(["x"])
    noEpoch.producerID = 5
    #expect(refusal(noEpoch.bytes) == .invalidRecord)
    #expect(refusal([]) == .corruptMessage)
    var huge = bytes
    huge.replaceSubrange(8..<12, with: [0x7F, 0xFF, 0xFF, 0xFF])
    #expect(refusal(huge) == .corruptMessage)
    var negative = bytes
    negative.replaceSubrange(8..<12, with: [0xFF, 0xFF, 0xFF, 0xFF])
    #expect(refusal(negative) == .corruptMessage)
  }
}
