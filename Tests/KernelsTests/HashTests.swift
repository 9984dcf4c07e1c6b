import CKernels
import Testing

private func hash(_ text: String, seed: UInt64 = 0) -> UInt64 {
  var bytes = Array(text.utf8)
  return bytes.withUnsafeMutableBytes { mr_hash64($0.baseAddress, $0.count, seed) }
}

/// SplitMix64: seeds of the property tests.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64
  init(seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

/// These values are in logs and checkpoints: a change here is a change of format, and never right.
private let vectors: [(text: String, seed: UInt64, hash: UInt64)] = [
  ("", 0, 0xCA57D5DE3B694DCE),
  ("a", 0, 0x0F05B51EFA447CAF),
  ("abc", 0, 0xA88DC84998240C10),
  ("AA", 0, 0xF040007128E4FC67),
  ("AA100", 0, 0x2FDB7AC04145D74E),
  ("carrier", 0, 0x51B049AEC7549E06),
  ("flight=AA100", 0, 0x625881B7E4202642),
  ("0123456789abcdef", 0, 0x0A21D05085C9CD7E),
  ("0123456789abcdef0", 0, 0x74E8B60955F26777),
  ("The quick brown fox jumps over the lazy dog", 0, 0x5D622096AB00C5CF),
  ("", 0x0123456789ABCDEF, 0x9F03B2ED8E82F918),
  ("AA", 0x0123456789ABCDEF, 0x4CCA329ED1B9E0F0),
  ("flight=AA100", 0x0123456789ABCDEF, 0x8E342E4E42A40223),
  ("The quick brown fox jumps over the lazy dog", 0x0123456789ABCDEF, 0x57AEE14C0517A948),
]

@Suite struct HashTests {
  @Test func hashesAreWhatTheyAlwaysWere() {
    for v in vectors { #expect(hash(v.text, seed: v.seed) == v.hash, "\(v.text)") }
    #expect(mr_hash_combine(1, 2) == 0x9AACAA5C692C8EF6)
    #expect(mr_hash_combine(0, 0) == 0x36F98FE57E7EEEA2)
    #expect(mr_mix64(1) == 0x5692161D100B05E5)
    #expect(mr_shard_of(1, 3) == 1)
    #expect(mr_shard_of(12345, 4) == 3)
    #expect(mr_shard_of(99, 7) == 4)
  }

  @Test func everyBitFlipChangesAboutHalfTheBits() {
    var generator = SeededGenerator(seed: 7)
    for size in [1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 31, 32, 33, 64, 65] {
      var flips = 0
      var perOutput = [Int](repeating: 0, count: 64)
      let rounds = 40
      for _ in 0..<rounds {
        var bytes = (0..<size).map { _ in UInt8.random(in: 0...255, using: &generator) }
        let seed = UInt64.random(in: 0...UInt64.max, using: &generator)
        let base = mr_hash64(&bytes, size, seed)
        for bit in 0..<size * 8 {
          bytes[bit / 8] ^= 1 << (bit % 8)
          let difference = base ^ mr_hash64(&bytes, size, seed)
          bytes[bit / 8] ^= 1 << (bit % 8)
          #expect(difference != 0)
          flips += difference.nonzeroBitCount
          for k in 0..<64 where difference >> k & 1 == 1 { perOutput[k] += 1 }
        }
      }
      let trials = Double(rounds * size * 8)
      let share = Double(flips) / trials / 64
      #expect(abs(share - 0.5) < 0.02, "size \(size): \(share)")
      let slack = 5 * (0.25 / trials).squareRoot()
      for k in 0..<64 {
        #expect(abs(Double(perOutput[k]) / trials - 0.5) < slack + 0.005, "size \(size) output bit \(k)")
      }
    }
  }

  @Test func seedsAndSizesSeparate() {
    // Zero bytes of every length, and every one-bit seed, all differ.
    var seen = Set<UInt64>()
    let zeros = [UInt8](repeating: 0, count: 300)
    for size in 0...300 { seen.insert(zeros.withUnsafeBytes { mr_hash64($0.baseAddress, size, 0) }) }
    for bit in 0..<64 { seen.insert(mr_hash64(nil, 0, 1 << UInt64(bit))) }
    #expect(seen.count == 301 + 64)
  }

  @Test func decimalNumbersDoNotCollide() {
    // Sequential short keys are what real streams have: look at all 64 bits and at the low 16.
    var seen = Set<UInt64>()
    var low = [Int](repeating: 0, count: 1 << 12)
    let count = 1 << 17
    for i in 0..<count {
      let h = hash(String(i), seed: 42)
      seen.insert(h)
      low[Int(h & 0xFFF)] += 1
    }
    #expect(seen.count == count)
    let expected = Double(count) / 4096
    let chiSquare = low.reduce(0) { $0 + (Double($1) - expected) * (Double($1) - expected) / expected }
    #expect(chiSquare < 4095 + 6 * (2 * 4095.0).squareRoot())
  }

  @Test func combineDependsOnOrder() {
    var generator = SeededGenerator(seed: 3)
    for _ in 0..<1000 {
      let a = generator.next()
      let b = generator.next()
      #expect(mr_hash_combine(a, b) != mr_hash_combine(b, a))
      #expect(mr_hash_combine(a, b) != mr_hash_combine(a, b ^ 1))
      #expect(mr_hash_combine(a, b) != mr_hash_combine(a ^ 1, b))
    }
  }

  @Test func shardsAreEven() {
    for count: UInt32 in [1, 2, 3, 4, 7, 16] {
      var counts = [Int](repeating: 0, count: Int(count))
      // Small sequential ids: the mix must spread them too.
      for id in 0..<UInt64(60_000) { counts[Int(mr_shard_of(id, count))] += 1 }
      let expected = 60_000.0 / Double(count)
      for c in counts { #expect(abs(Double(c) - expected) < 6 * expected.squareRoot()) }
    }
    #expect(mr_shard_of(5, 0) == 0)
  }

  @Test func crcMatchesPublishedVectors() {
    // RFC 3720 B.4.
    #expect([UInt8](repeating: 0, count: 32).withUnsafeBytes { mr_crc32c(0, $0.baseAddress, 32) } == 0x8A91_36AA)
    #expect([UInt8](repeating: 0xFF, count: 32).withUnsafeBytes { mr_crc32c(0, $0.baseAddress, 32) } == 0x62A8_AB43)
    #expect(Array("123456789".utf8).withUnsafeBytes { mr_crc32c(0, $0.baseAddress, 9) } == 0xE306_9283)
  }

  @Test func crcByInstructionEqualsCRCByTable() {
    var generator = SeededGenerator(seed: 11)
    for size in 0..<200 {
      let bytes = (0..<size).map { _ in UInt8.random(in: 0...255, using: &generator) }
      bytes.withUnsafeBytes { all in
        let whole = mr_crc32c(0, all.baseAddress, size)
        #expect(whole == mr_crc32c_scalar(0, all.baseAddress, size))
        let cut = size / 3
        let first = mr_crc32c(0, all.baseAddress, cut)
        #expect(whole == mr_crc32c(first, all.baseAddress.map { $0 + cut }, size - cut))
      }
    }
  }
}
