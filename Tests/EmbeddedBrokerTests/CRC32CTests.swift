import CKernels
import Testing

@Suite struct CRC32CTests {
  @Test func knownVectors() {
    // RFC 3720, B.4, and the usual check value.
    let vectors: [([UInt8], UInt32)] = [
      (Array("123456789".utf8), 0xE306_9283), ([UInt8](repeating: 0, count: 32), 0x8A91_36AA),
      ([UInt8](repeating: 0xFF, count: 32), 0x62A8_AB43), (Array(0..<32), 0x46DD_794E), ([], 0),
    ]
    for (bytes, expected) in vectors {
      #expect(bytes.withUnsafeBytes { mr_crc32c(0, $0.baseAddress, $0.count) } == expected)
      #expect(bytes.withUnsafeBytes { mr_crc32c_scalar(0, $0.baseAddress, $0.count) } == expected)
    }
  }

  @Test func instructionAgreesWithTablesForEveryLengthAndAlignment() {
    var generator = SeededGenerator(seed: 7)
    let bytes = (0..<600).map { _ in UInt8.random(in: 0...255, using: &generator) }
    bytes.withUnsafeBytes { all in
      for start in 0..<8 {
        for count in 0..<300 {
          let slice = UnsafeRawBufferPointer(rebasing: all[start..<(start + count)])
          let whole = mr_crc32c(0, slice.baseAddress, count)
          #expect(whole == mr_crc32c_scalar(0, slice.baseAddress, count))
          // In two parts.
          let half = count / 2
          let first = mr_crc32c(0, slice.baseAddress, half)
          #expect(mr_crc32c(first, slice.baseAddress.map { $0 + half }, count - half) == whole)
        }
      }
    }
  }
}
