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

  @Test func longInputsInLanesAgreeWithTables() {
    var generator = SeededGenerator(seed: 8)
    // From 768 bytes on three lanes of 256 go side by side, from 12,288 on three of 4,096.
    let bytes = (0..<40_000).map { _ in UInt8.random(in: 0...255, using: &generator) }
    bytes.withUnsafeBytes { all in
      for base in [768, 1_536, 12_288, 13_056, 24_576, 37_632] {
        for count in [base - 9, base - 1, base, base + 1, base + 8, base + 767] {
          let slice = UnsafeRawBufferPointer(rebasing: all[3..<(3 + count)])
          #expect(mr_crc32c(0x1234_5678, slice.baseAddress, count) == mr_crc32c_scalar(0x1234_5678, slice.baseAddress, count), "\(count) bytes")
        }
      }
    }
  }
}
