import AllocationThresholds
import Bundles
import CKernels
import Families
import Kernels
import Model
import Testing

/// Random batches of rows for a specification of the tests: features in order, some absent, the bias at the end.
func sparseBatch(_ specification: ModelSpecification, rows: Int, seed: UInt64, hasFields: Bool = true) -> RowBatch {
  var state = seed
  func next(_ bound: UInt64) -> UInt64 {
    state = state &+ 0x9E37_79B9_7F4A_7C15
    return mr_mix64(state) % bound
  }
  let batch = RowBatch(rowCapacity: rows, entryCapacity: rows * 16, denseRowBytes: 0, hasFields: hasFields)
  for row in 0..<rows {
    for (index, feature) in specification.features.enumerated() where row != 2 && next(5) > 0 {
      let seed = RowID.seed(feature: feature.name)
      switch feature.kind {
      case .categorical:
        // Several values, some of them twice.
        for _ in 0..<1 + next(UInt64(feature.valuesMax)) {
          batch.append(id: RowID.place(Int(next(20)), seed: seed), value: 1, field: UInt16(index))
        }
      case .vector:
        for place in 0..<feature.valuesMax {
          batch.append(id: RowID.place(place, seed: seed), value: Float(next(100)) / 50 - 1, field: UInt16(index))
        }
      default: batch.append(id: RowID.numeric(seed: seed), value: Float(next(100)) / 50 - 1, field: UInt16(index))
      }
    }
    batch.append(id: RowID.bias, value: 1)
    batch.endRow()
  }
  return batch
}

/// Numbers that look random and are the same each time.
func numbers(_ count: Int, seed: UInt64, scale: Float = 1) -> [Float] {
  (0..<count).map { index in
    let bits: UInt64 = mr_mix64(seed &* 1_000_003 &+ UInt64(index) &+ 1) >> 40
    return Float(bits) / 8_388_608 * scale - scale
  }
}

@Suite struct FactorizationTests {
  static func specification(shards: Int = 1) -> ModelSpecification {
    ModelSpecification(
      name: "fm", family: .loaded,
      features: [.categorical("colour"), .numeric("size"), .categorical("tags", valuesMax: 4), .vector("place", size: 3)], shards: shards)
  }

  static func model(rows: Int = 50, factors: Int = 5, outputs: Int = 1, shards: Int = 1, link: OutputLink = .sigmoid) throws -> FactorizationModel {
    let table = try #require(EmbeddingTable(rowCount: rows, precision: .float32, width: factors * outputs, headWidth: outputs))
    for row in 0..<rows {
      table.setRow(row, head: numbers(outputs, seed: UInt64(row) + 1000), values: numbers(factors * outputs, seed: UInt64(row), scale: 0.5))
    }
    return try #require(
      FactorizationModel(table: table, bias: numbers(outputs, seed: 9), link: link, specification: specification(shards: shards)))
  }

  /// The formula, pair by pair, in double precision.
  static func expected(_ model: FactorizationModel, _ batch: RowBatch, row: Int) -> [Double] {
    let k = model.factors, outputs = model.bias.count
    var parts: [(x: Double, head: [Float], values: [Float])] = []
    for entry in batch.start(ofRow: row)..<Int(batch.rowEnds[row]) where batch.ids[entry] != RowID.bias {
      var head = [Float](repeating: 0, count: outputs)
      var values = [Float](repeating: 0, count: k * outputs)
      model.table.row(EmbeddingTable.row(of: batch.ids[entry], rowCount: model.table.rowCount), head: &head, values: &values)
      parts.append((Double(batch.values[entry]), head, values))
    }
    return (0..<outputs).map { output in
      var sum = Double(model.bias[output])
      for (index, a) in parts.enumerated() {
        sum += a.x * Double(a.head[output])
        for b in parts[..<index] {
          for c in output * k..<(output + 1) * k { sum += a.x * b.x * Double(a.values[c]) * Double(b.values[c]) }
        }
      }
      return sum
    }
  }

  @Test(arguments: [1, 3]) func scoresAreTheFormula(_ outputs: Int) throws {
    let model = try Self.model(outputs: outputs, link: .identity)
    #expect(model.accumulatorWidth == outputs * 7 && model.outputs == [OutputTensor(name: "score", shape: [outputs])])
    let scorer = model.makeScorer(rowsMax: 2)
    let batch = sparseBatch(Self.specification(), rows: 9, seed: 4)
    scorer.score(batch)
    for row in 0..<9 {
      for (output, wanted) in Self.expected(model, batch, row: row).enumerated() {
        #expect(abs(Double(scorer.scores[row * outputs + output]) - wanted) < 1e-4, "row \(row)")
      }
    }
    // Row 2 has nothing but the bias.
    #expect(scorer.scores[2 * outputs] == model.bias[0])
    // An empty batch has no scores, and does no harm.
    scorer.score(sparseBatch(Self.specification(), rows: 0, seed: 4))
  }

  @Test func linksAreApplied() throws {
    let batch = sparseBatch(Self.specification(), rows: 5, seed: 5)
    let margins = try Self.model(outputs: 2, link: .identity).makeScorer(rowsMax: 5)
    margins.score(batch)
    for link in OutputLink.allCases {
      let scorer = try Self.model(outputs: 2, link: link).makeScorer(rowsMax: 5)
      scorer.score(batch)
      for row in 0..<5 {
        let (a, b) = (Double(margins.scores[row * 2]), Double(margins.scores[row * 2 + 1]))
        let wanted = switch link {
        case .identity: a
        case .sigmoid: Loss.logistic.score(sum: a)
        case .exponential: Loss.poisson.score(sum: a)
        case .softmax: Loss.logistic.score(sum: a - b)
        }
        #expect(abs(Double(scorer.scores[row * 2]) - wanted) < 1e-5 * max(1, wanted), "\(link)")
      }
    }
  }

  @Test(arguments: [1, 2, 7]) func shardsAddUpToTheWhole(_ shards: Int) throws {
    let model = try Self.model(outputs: 2, shards: shards)
    #expect(model.shards == shards)
    let batch = sparseBatch(Self.specification(), rows: 12, seed: 6)
    let scorer = model.makeScorer(rowsMax: 12)
    scorer.score(batch)
    let whole = Array(UnsafeBufferPointer(start: scorer.scores, count: 24))
    var accumulators = [Float](repeating: 0, count: 12 * model.accumulatorWidth)
    var touched = 0
    for shard in 0..<shards {
      let before = accumulators
      scorer.partial(shard: shard, batch, into: &accumulators)
      if before != accumulators { touched += 1 }
    }
    #expect(touched == shards)
    scorer.finish(accumulators, batch)
    for index in 0..<24 { #expect(abs(scorer.scores[index] - whole[index]) < 1e-5) }
  }

  @Test(arguments: [RowPrecision.bfloat16, .int8]) func narrowRowsScoreNearlyTheSame(_ precision: RowPrecision) throws {
    let model = try Self.model()
    let narrow = try #require(model.converted(rows: precision))
    #expect(narrow.parameterBytes < model.parameterBytes || precision == .int8)
    let batch = sparseBatch(Self.specification(), rows: 20, seed: 7)
    let scorers = [model.makeScorer(rowsMax: 20), narrow.makeScorer(rowsMax: 20)]
    for scorer in scorers { scorer.score(batch) }
    var worst: Float = 0
    for row in 0..<20 { worst = max(worst, abs(scorers[0].scores[row] - scorers[1].scores[row])) }
    #expect(worst < 0.02 && worst > 0, "\(worst)")
  }

  @Test func bundlesHoldTheModel() throws {
    for precision in RowPrecision.allCases {
      let model = try #require(try Self.model(outputs: 2, shards: 3, link: .exponential).converted(rows: precision))
      let writer = BundleWriter(manifest: BundleManifest(name: "fm", family: "", outputs: model.outputs))
      model.write(into: writer)
      let bundle = try writer.encoded().withUnsafeBytes { try ModelBundle.read($0, verifying: .everything) }
      for residence in [TableResidence.hugePages(), .mapped] {
        let read = try FactorizationModel(bundle: bundle, residence: residence)
        #expect(read.specification == model.specification && read.bias == model.bias && read.link == .exponential && read.shards == 3)
        withExtendedLifetime((read, model)) { #expect(read.table.bytes.elementsEqual(model.table.bytes) && read.table.precision == precision) }
        let batch = sparseBatch(Self.specification(), rows: 5, seed: 8)
        let scorers = [model.makeScorer(rowsMax: 5), read.makeScorer(rowsMax: 5)]
        for scorer in scorers { scorer.score(batch) }
        for index in 0..<10 { #expect(scorers[0].scores[index] == scorers[1].scores[index]) }
      }
    }
  }

  @Test func bundlesOfOtherSizesAreRefused() throws {
    let model = try Self.model(outputs: 2)
    func place(_ change: (BundleWriter) -> Void) throws -> String {
      let writer = BundleWriter(manifest: BundleManifest(name: "fm", family: "", outputs: model.outputs))
      model.write(into: writer)
      change(writer)
      let bundle = try writer.encoded().withUnsafeBytes { try ModelBundle.read($0) }
      do {
        _ = try FactorizationModel(bundle: bundle)
        return "accepted"
      } catch {
        return error.place
      }
    }
    func set(_ key: String, _ value: JSONValue?) throws -> String { try place { $0.manifest.parameters[key] = value } }
    #expect(try place { _ in } == "accepted")
    #expect(try set("rows", 51) == "section \"rows\"")
    #expect(try set("rows", 0) == "manifest.parameters.rows")
    #expect(try set("rows", .integer(1 << 40)) == "manifest.parameters.rows")
    #expect(try set("factors", 13) == "section \"rows\"")
    #expect(try set("factors", .integer(.max)) == "manifest.parameters.factors")
    #expect(try set("outputs", 1) == "section \"rows\"")
    #expect(try set("outputs", -1) == "manifest.parameters.outputs")
    #expect(try set("outputs", .integer(1 << 20)) == "manifest.parameters.outputs")
    #expect(try set("link", "tan") == "manifest.parameters.link")
    #expect(try set("precision", "int4") == "manifest.parameters.precision")
    #expect(try set("precision", nil) == "manifest.parameters.precision")
    #expect(try place { $0.manifest.family = "dlrm" } == "manifest.family")
    #expect(try place { $0.manifest.familyVersion = 2 } == "manifest.family_version")
    #expect(try place { $0.manifest.specification = nil } == "manifest.specification")
    #expect(try place { $0.manifest.specification = "model: x\nfeatures: [" } == "manifest.specification")
  }

  @Test func partsThatDoNotFitMakeNoModel() throws {
    let table = try #require(EmbeddingTable(rowCount: 4, precision: .float32, width: 6, headWidth: 2))
    #expect(FactorizationModel(table: table, bias: [0, 0], link: .identity, specification: nil) != nil)
    #expect(FactorizationModel(table: table, bias: [0], link: .identity, specification: nil) == nil)
    #expect(FactorizationModel(table: table, bias: [], link: .identity, specification: nil) == nil)
  }

  @Test func scoringAllocatesNothing() throws {
    let model = try Self.model(shards: 2)
    let scorer = model.makeScorer(rowsMax: 1)
    let batch = sparseBatch(Self.specification(), rows: 30, seed: 10)
    var accumulators = [Float](repeating: 0, count: 30 * model.accumulatorWidth)
    let count = accumulators.withUnsafeMutableBufferPointer { accumulators in
      guard let sums = accumulators.baseAddress else { return -1 }
      func once() {
        scorer.score(batch)
        scorer.partial(shard: 1, batch, into: sums)
        scorer.finish(sums, batch)
      }
      once()
      return AllocationThresholds.ofThread { for _ in 0..<20 { once() } }
    }
    let allowed = try #require(try AllocationThresholds()["families.fm.20-batches"])
    #expect(count <= allowed, "\(count) allocations")
  }
}
