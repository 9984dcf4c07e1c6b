internal import Model

/// Rows for a model that has scored none yet: numbers around zero in every element, values of some hashes. They touch what real rows would.
enum WarmupRows {
  static let count = 32

  static func fill(_ batch: RowBatch, for specification: ModelSpecification) {
    var state: UInt64 = 0x6D69_6C6C_7261_6365
    func random() -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return state >> 33
    }
    let assembler = FeatureAssembler(specification: specification)
    for _ in 0..<count {
      assembler.begin()
      for (index, feature) in specification.features.enumerated() {
        switch feature.kind {
        case .categorical: assembler.integer(index, Int64(random() % 4096))
        case .numeric: assembler.numeric(index, Double(random() % 1000) / 100)
        case .vector: for _ in 0..<feature.valuesMax { assembler.numeric(index, Double(random() % 1000) / 100) }
        case .tensor:
          guard let place = feature.tensor else { continue }
          for _ in 0..<place.count {
            switch place.element {
            case .float32, .float64: assembler.numeric(index, Double(Int64(random() % 2000) - 1000) / 500)
            case .boolean: assembler.integer(index, Int64(random() & 1))
            case .text: assembler.integer(index, Int64(random() % 64))
            // Indices, most often: 0 is always one.
            default: assembler.integer(index, 0)
            }
          }
        }
      }
      // A row that some transform refuses is left out.
      assembler.finish(into: batch)
    }
  }
}
