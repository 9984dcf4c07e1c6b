import Kafka
import Testing

@Suite struct ContiguousOffsetsTests {
  /// `#expect` cannot hold a mutating call.
  private func expect(
    _ expected: Bool, _ result: Bool, _ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(result == expected, comment, sourceLocation: sourceLocation)
  }

  @Test func onlyTheContiguousPrefixIsCommittable() {
    var offsets = ContiguousOffsets(inFlightMax: 8)
    for offset: Int64 in 10...14 { expect(true, offsets.begin(offset)) }
    #expect(offsets.committable == nil)
    expect(true, offsets.acknowledge(11))
    #expect(offsets.committable == nil)
    expect(true, offsets.acknowledge(10))
    #expect(offsets.committable == 12)
    expect(true, offsets.acknowledge(14))
    #expect(offsets.committable == 12)
    expect(true, offsets.acknowledge(13))
    expect(true, offsets.acknowledge(12))
    #expect(offsets.committable == 15)
    #expect(offsets.inFlightCount == 0)
  }

  @Test func unknownAndRepeatedAcknowledgementsAreRefused() {
    var offsets = ContiguousOffsets(inFlightMax: 4)
    expect(false, offsets.acknowledge(5))
    offsets.begin(5)
    offsets.begin(9)
    expect(true, offsets.acknowledge(9))
    expect(false, offsets.acknowledge(9))
    expect(false, offsets.acknowledge(7))
    expect(true, offsets.acknowledge(5))
    expect(false, offsets.acknowledge(5))
    #expect(offsets.committable == 10)
  }

  @Test func fullRefuses() {
    var offsets = ContiguousOffsets(inFlightMax: 2)
    expect(true, offsets.begin(1))
    expect(true, offsets.begin(2))
    #expect(offsets.isFull)
    expect(false, offsets.begin(3))
    offsets.acknowledge(1)
    expect(true, offsets.begin(3))
    offsets.removeAll()
    #expect(offsets.committable == nil)
    expect(true, offsets.begin(0))
  }

  /// Against a plain set: the committable offset is the end of the longest acknowledged prefix.
  @Test func agreesWithASetInAnyOrder() {
    let seed = UInt64.random(in: .min ... .max)
    print("ContiguousOffsets seed \(seed)")
    var random = SplitMix(state: seed)
    for _ in 0..<200 {
      let inFlightMax = Int.random(in: 1...40, using: &random)
      var offsets = ContiguousOffsets(inFlightMax: inFlightMax)
      var begun: [(from: Int64, to: Int64)] = []
      var done = Set<Int64>()
      var next = Int64.random(in: 0...1_000, using: &random)
      for _ in 0..<400 {
        let waiting = begun.filter { !done.contains($0.from) }
        if Bool.random(using: &random), let chosen = waiting.randomElement(using: &random) {
          expect(true, offsets.acknowledge(chosen.from), "seed \(seed)")
          done.insert(chosen.from)
        } else {
          if Int.random(in: 0..<4, using: &random) == 0 { next += Int64.random(in: 0...5, using: &random) }
          let length = Int.random(in: 0..<3, using: &random) == 0 ? Int64.random(in: 1...9, using: &random) : 1
          if offsets.begin(from: next, to: next + length) {
            begun.append((next, next + length))
            next += length
          } else {
            #expect(offsets.isFull, "seed \(seed)")
          }
        }
        let expected = begun.prefix { done.contains($0.from) }.last?.to
        #expect(offsets.committable == expected, "seed \(seed)")
        if offsets.committable != expected { return }
      }
    }
  }
}

/// A small seeded generator (SplitMix64, Steele et al. 2014).
struct SplitMix: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
