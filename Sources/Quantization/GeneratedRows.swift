internal import Model

extension EvaluationRows {
  /// Adds rows whose values are drawn: numbers from about a normal distribution, texts and ids so that value k has a probability of about 1/k.
  public func append(generated count: Int, seed: UInt64) throws(EvaluationError) {
    var state = seed
    func next() -> UInt64 {
      state &+= 0x9E37_79B9_7F4A_7C15
      var z = state
      z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
      return z ^ (z >> 31)
    }
    func unit() -> Double { Double(next() >> 11) * 0x1p-53 }
    /// The sum of four uniform ones has nearly the shape, and the deviation 1 after scaling.
    func normal() -> Double { (unit() + unit() + unit() + unit() - 2) * 1.732 }
    func rank() -> Int64 { Int64(1 / max(unit(), 1e-6)) }
    for _ in 0..<count {
      assembler.begin()
      for (index, feature) in specification.features.enumerated() {
        let values = feature.kind == .vector ? feature.valuesMax : feature.tensor.map(\.count) ?? 1
        let element = assembler.place(of: index)?.element ?? .float32
        for _ in 0..<values {
          let isGiven: Bool
          switch (feature.kind, element) {
          case (.categorical, _), (.tensor, .text):
            isGiven = Array("v\(rank())".utf8).withUnsafeBytes { assembler.categorical(index, $0) }
          case (.tensor, .float32), (.tensor, .float64): isGiven = assembler.numeric(index, normal())
          case (.tensor, .boolean): isGiven = assembler.numeric(index, unit() < 0.5 ? 0 : 1)
          case (.tensor, _): isGiven = assembler.integer(index, rank() % 100)
          default: isGiven = assembler.numeric(index, abs(normal()))
          }
          guard isGiven else { throw EvaluationError(place: "feature \"\(feature.name)\"", reason: assembler.problemText()) }
        }
      }
      try finishRow(label: nil, at: "generated rows")
    }
  }
}
