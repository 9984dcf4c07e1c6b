import AllocationThresholds
import Bundles
import CKernels
import Families
import Kernels
import Model
import Testing

@Suite struct DLRMTests {
  static func specification(shards: Int = 1) -> ModelSpecification {
    ModelSpecification(
      name: "dlrm", family: .loaded,
      features: [
        .categorical("colour"), .numeric("size"), .categorical("tags", valuesMax: 4), .vector("place", size: 3),
        .numeric("age", NumericTransform(buckets: [1, 2])),
      ], crosses: [Cross(["colour", "age"])], shards: shards)
  }

  static func layers(_ sizes: [Int], seed: UInt64) -> [LayerWeights] {
    zip(sizes, sizes.dropFirst()).enumerated().compactMap { index, size in
      LayerWeights(
        inputs: size.0, outputs: size.1, weights: numbers(size.0 * size.1, seed: seed + UInt64(index), scale: 0.6),
        bias: numbers(size.1, seed: seed + 50 + UInt64(index), scale: 0.2))
    }
  }

  static let tableRows = [7, 30, 4, 11]

  static func model(
    width: Int = 6, outputs: Int = 1, shards: Int = 1, link: OutputLink = .sigmoid, pooling: DLRMModel.Pooling = .sum, dense: Int = 0,
    precision: MatrixPrecision = .float32
  ) throws -> DLRMModel {
    let rows = tableRows.reduce(0, +)
    let table = try #require(EmbeddingTable(rowCount: rows, precision: .float32, width: width))
    for row in 0..<rows { table.setRow(row, values: numbers(width, seed: UInt64(row))) }
    return try DLRMModel(
      specification: specification(shards: shards), tableRows: tableRows, embeddings: table, bottom: layers([dense + 4, 10, width], seed: 100),
      top: layers([width + 10, 9, outputs], seed: 200), precision: precision, pooling: pooling, link: link, denseCount: dense)
  }

  /// A batch with entries of the cross too: dense rows of the tensor and the number, sparse entries of the rest.
  static func batch(rows: Int, seed: UInt64, dense: Int = 0) -> RowBatch {
    let sparse = sparseBatch(specification(), rows: rows, seed: seed)
    let batch = RowBatch(rowCapacity: 1, entryCapacity: 1, denseRowBytes: (dense + 1) * 4, hasFields: true)
    guard let fields = sparse.fields else { return batch }
    for row in 0..<rows {
      let entries = sparse.start(ofRow: row)..<Int(sparse.rowEnds[row])
      let size = entries.first { fields[$0] == 1 }.map { sparse.values[$0] } ?? 0
      let numbers = numbers(dense, seed: seed + UInt64(row)) + [size]
      batch.reserveDenseRow().copyMemory(from: numbers, byteCount: (dense + 1) * 4)
      for entry in entries where fields[entry] != 1 {
        batch.append(id: sparse.ids[entry], value: sparse.values[entry], field: fields[entry])
        // Behind the features, and behind the tensor when there is one.
        if fields[entry] == 4 { batch.append(id: sparse.ids[entry] &* 31, value: 1, field: dense > 0 ? 6 : 5) }
      }
      batch.endRow()
    }
    return batch
  }

  /// Step by step in double precision.
  static func expected(_ model: DLRMModel, _ batch: RowBatch, row: Int) -> [Double] {
    let width = model.embeddings.width
    var columns = [Double](repeating: 0, count: model.denseCount + 4)
    if let dense = batch.dense {
      for column in 0...model.denseCount {
        columns[column] = Double(dense.load(fromByteOffset: row * batch.denseRowBytes + column * 4, as: Float.self))
      }
    }
    var vectors = [[Double]](repeating: [Double](repeating: 0, count: width), count: 4)
    var counts = [Double](repeating: 0, count: 4)
    let tables: [UInt16: Int] = [0: 0, 2: 1, 4: 2, model.denseCount > 0 ? 6 : 5: 3]
    var place = 0
    for entry in batch.start(ofRow: row)..<Int(batch.rowEnds[row]) {
      let field = batch.fields?[entry] ?? 0
      if field == 3 {
        columns[model.denseCount + 1 + place] = Double(batch.values[entry])
        place += 1
      }
      guard let table = tables[field] else { continue }
      let first = tableRows[..<table].reduce(0, +)
      var values = [Float](repeating: 0, count: width)
      model.embeddings.row(first + EmbeddingTable.row(of: batch.ids[entry], rowCount: tableRows[table]), values: &values)
      for column in 0..<width { vectors[table][column] += Double(batch.values[entry]) * Double(values[column]) }
      counts[table] += 1
    }
    if model.pooling == .mean { for table in 0..<4 where counts[table] > 0 { vectors[table] = vectors[table].map { $0 / counts[table] } } }
    func tower(_ layers: [LayerWeights], _ input: [Double], lastReLU: Bool) -> [Double] {
      var values = input
      for (index, layer) in layers.enumerated() {
        values = (0..<layer.outputs).map { output in
          var sum = Double(layer.bias[output])
          for input in values.indices { sum += Double(layer.weights[output * layer.inputs + input]) * values[input] }
          return index < layers.count - 1 || lastReLU ? max(0, sum) : sum
        }
      }
      return values
    }
    vectors.insert(tower(model.bottom, columns, lastReLU: true), at: 0)
    var interaction = vectors[0]
    for i in 0..<5 {
      for j in 0..<i {
        var sum = 0.0
        for (a, b) in zip(vectors[i], vectors[j]) { sum += a * b }
        interaction.append(sum)
      }
    }
    return tower(model.top, interaction, lastReLU: false)
  }

  @Test(arguments: [0, 3], [DLRMModel.Pooling.sum, .mean]) func scoresAreTheFormula(_ dense: Int, _ pooling: DLRMModel.Pooling) throws {
    let model = try Self.model(outputs: 2, link: .identity, pooling: pooling, dense: dense)
    #expect(model.layout.tables == ["colour", "tags", "age", "colour*age"] && model.layout.columnCount == 4)
    #expect(model.accumulatorWidth == 24 && model.inputs.map(\.name) == (dense > 0 ? ["dense", "numerics"] : ["numerics"]))
    // What readers of requests go by puts the same things in the same places.
    let serving = try model.servingSpecification(name: "d", version: 1)
    #expect(serving.denseRowBytes == (dense + 1) * 4 && serving.features[1].tensor?.offset == dense * 4)
    let scorer = model.makeScorer(rowsMax: 2)
    // More rows than a block has.
    let batch = Self.batch(rows: 70, seed: 14, dense: dense)
    scorer.score(batch)
    for row in 0..<70 {
      for (output, wanted) in Self.expected(model, batch, row: row).enumerated() {
        #expect(abs(Double(scorer.scores[row * 2 + output]) - wanted) < 1e-4 * (1 + abs(wanted)), "row \(row)")
      }
    }
    scorer.score(Self.batch(rows: 0, seed: 1, dense: dense))
  }

  @Test func numbersMayLieWhereTheyCame() throws {
    // No column from sparse entries: the bottom tower reads the dense rows themselves.
    let specification = ModelSpecification(name: "d", family: .loaded, features: [.categorical("a")])
    let table = try #require(EmbeddingTable(rowCount: 5, precision: .float32, width: 4))
    for row in 0..<5 { table.setRow(row, values: numbers(4, seed: UInt64(row))) }
    let model = try DLRMModel(
      specification: specification, tableRows: [5], embeddings: table, bottom: Self.layers([3, 4], seed: 1), top: Self.layers([5, 1], seed: 2),
      link: .identity, denseCount: 3)
    let batch = RowBatch(rowCapacity: 4, entryCapacity: 4, denseRowBytes: 16, hasFields: true)
    for row in 0..<3 {
      let numbers = numbers(4, seed: UInt64(row + 40))
      batch.reserveDenseRow().copyMemory(from: numbers, byteCount: 16)
      batch.append(id: UInt64(row), value: 1, field: 0)
      batch.endRow()
    }
    let scorer = model.makeScorer(rowsMax: 3)
    scorer.score(batch)
    for row in 0..<3 {
      let x = Array(numbers(4, seed: UInt64(row + 40))[..<3])
      var vector: [Float] = []
      for output in 0..<4 {
        var sum = model.bottom[0].bias[output]
        for input in 0..<3 { sum += model.bottom[0].weights[output * 3 + input] * x[input] }
        vector.append(max(0, sum))
      }
      var embedded = [Float](repeating: 0, count: 4)
      table.row(EmbeddingTable.row(of: UInt64(row), rowCount: 5), values: &embedded)
      var product: Float = 0
      for (a, b) in zip(vector, embedded) { product += a * b }
      var wanted = model.top[0].bias[0]
      for (weight, x) in zip(model.top[0].weights, vector + [product]) { wanted += weight * x }
      #expect(abs(scorer.scores[row] - wanted) < 1e-5)
    }
  }

  @Test(arguments: [1, 2, 7], [DLRMModel.Pooling.sum, .mean]) func shardsAddUpToTheWhole(_ shards: Int, _ pooling: DLRMModel.Pooling) throws {
    let model = try Self.model(shards: shards, pooling: pooling, dense: 2)
    let batch = Self.batch(rows: 70, seed: 16, dense: 2)
    let scorer = model.makeScorer(rowsMax: 70)
    scorer.score(batch)
    let whole = Array(UnsafeBufferPointer(start: scorer.scores, count: 70))
    var accumulators = [Float](repeating: 0, count: 70 * model.accumulatorWidth)
    for shard in 0..<shards { scorer.partial(shard: shard, batch, into: &accumulators) }
    scorer.finish(accumulators, batch)
    for row in 0..<70 { #expect(abs(scorer.scores[row] - whole[row]) < 1e-5) }
    if shards > 1 {
      // One shard alone is not the whole.
      accumulators = accumulators.map { _ in 0 }
      scorer.partial(shard: 0, batch, into: &accumulators)
      scorer.finish(accumulators, batch)
      #expect((0..<70).contains { abs(scorer.scores[$0] - whole[$0]) > 1e-3 })
    }
  }

  @Test(arguments: [MatrixPrecision.bfloat16, .int8]) func narrowModelsScoreNearlyTheSame(_ precision: MatrixPrecision) throws {
    let model = try Self.model()
    let narrow = try model.converted(rows: precision == .int8 ? .int8 : .bfloat16, layers: precision)
    let batch = Self.batch(rows: 40, seed: 17)
    let scorers = [model.makeScorer(rowsMax: 40), narrow.makeScorer(rowsMax: 40)]
    for scorer in scorers { scorer.score(batch) }
    var worst: Float = 0
    for row in 0..<40 { worst = max(worst, abs(scorers[0].scores[row] - scorers[1].scores[row])) }
    #expect(worst < 0.05 && worst > 0, "\(worst)")
  }

  @Test func bundlesHoldTheModel() throws {
    for precision in MatrixPrecision.allCases {
      let model = try Self.model(outputs: 2, shards: 3, pooling: .mean, dense: 2).converted(rows: precision == .int8 ? .int8 : nil, layers: precision)
      let writer = BundleWriter(manifest: BundleManifest(name: "d", family: "", outputs: model.outputs))
      model.write(into: writer)
      let bundle = try writer.encoded().withUnsafeBytes { try ModelBundle.read($0, verifying: .everything) }
      for residence in [TableResidence.hugePages(), .mapped] {
        let read = try DLRMModel(bundle: bundle, residence: residence)
        #expect(read.specification == model.specification && read.bottom == model.bottom && read.top == model.top && read.layout == model.layout)
        #expect(read.precision == precision && read.pooling == .mean && read.denseCount == 2 && read.tableRows == Self.tableRows)
        let batch = Self.batch(rows: 5, seed: 18, dense: 2)
        let scorers = [model.makeScorer(rowsMax: 5), read.makeScorer(rowsMax: 5)]
        for scorer in scorers { scorer.score(batch) }
        for index in 0..<10 { #expect(scorers[0].scores[index] == scorers[1].scores[index]) }
      }
    }
  }

  @Test func bundlesOfOtherSizesAreRefused() throws {
    let model = try Self.model()
    func place(_ change: (BundleWriter) -> Void) throws -> String {
      let writer = BundleWriter(manifest: BundleManifest(name: "d", family: "", outputs: model.outputs))
      model.write(into: writer)
      change(writer)
      let bundle = try writer.encoded().withUnsafeBytes { try ModelBundle.read($0) }
      do {
        _ = try DLRMModel(bundle: bundle)
        return "accepted"
      } catch {
        return error.place
      }
    }
    func set(_ key: String, _ value: JSONValue?) throws -> String { try place { $0.manifest.parameters[key] = value } }
    #expect(try place { _ in } == "accepted")
    #expect(try set("width", 9) == "section \"embeddings\"")
    #expect(try set("width", 0) == "manifest.parameters.width")
    #expect(try set("tables", []) == "manifest.parameters.tables")
    #expect(try set("tables", ["a", 1, 2, 3]) == "manifest.parameters.tables[0]")
    let rows = [7, 30, 4, 12]
    let tables: [JSONValue] = rows.indices.map { .object(["feature": JSONValue(model.layout.tables[$0]), "rows": JSONValue(rows[$0])]) }
    #expect(try set("tables", .array(tables)) == "section \"embeddings\"")
    #expect(try set("tables", .array(tables.reversed())) == "manifest.parameters.tables[0].feature")
    #expect(try set("bottom", 3) == "section \"bottom.2.weight\"")
    #expect(try set("bottom", 1) == "bottom.0.weight")
    #expect(try set("top", 33) == "manifest.parameters.top")
    #expect(try set("layers", "int4") == "manifest.parameters.layers")
    #expect(try set("pooling", "max") == "manifest.parameters.pooling")
    #expect(try set("dense", 1) == "bottom.0.weight")
    #expect(try set("dense", -1) == "manifest.parameters.dense")
    #expect(try place { $0.manifest.family = "fm" } == "manifest.family")
  }

  @Test func partsThatDoNotFitAreNamed() throws {
    let model = try Self.model()
    func place(
      specification: ModelSpecification? = nil, rows: [Int]? = nil, bottom: [LayerWeights]? = nil, top: [LayerWeights]? = nil, dense: Int = 0
    ) -> String {
      do {
        _ = try DLRMModel(
          specification: specification ?? Self.specification(), tableRows: rows ?? Self.tableRows, embeddings: model.embeddings,
          bottom: bottom ?? model.bottom, top: top ?? model.top, denseCount: dense)
        return "accepted"
      } catch {
        return error.place
      }
    }
    #expect(place() == "accepted")
    #expect(place(rows: [7, 30, 4]) == "tables")
    #expect(place(rows: [7, 30, 4, 12]) == "embeddings")
    #expect(place(rows: [7, 30, 0, 15]) == "tables[2].rows")
    #expect(place(rows: [7, Int.max, 0, 15]) == "tables[1].rows")
    #expect(place(bottom: []) == "bottom")
    #expect(place(bottom: Self.layers([4, 10, 5], seed: 1)) == "bottom.1.weight")
    #expect(place(bottom: Self.layers([5, 10, 6], seed: 1)) == "bottom.0.weight")
    #expect(place(top: Self.layers([15, 1], seed: 1)) == "top.0.weight")
    #expect(place(dense: -1) == "dense")
    #expect(place(dense: 1 << 20) == "dense")
    #expect(place(specification: ModelSpecification(name: "x", family: .count)) == "tables")
    #expect(
      place(specification: ModelSpecification(name: "x", family: .loaded, features: [.categorical("a")]), rows: [52]) == "dense")
    #expect(LayerWeights(inputs: 2, outputs: 2, weights: [1, 2, 3], bias: [1, 2]) == nil)
    #expect(LayerWeights(inputs: .max, outputs: 2, weights: [1, 2, 3], bias: [1, 2]) == nil)
  }

  @Test func scoringAllocatesNothing() throws {
    let model = try Self.model(shards: 2, dense: 2, precision: .int8)
    let scorer = model.makeScorer(rowsMax: 1)
    let batch = Self.batch(rows: 70, seed: 19, dense: 2)
    var accumulators = [Float](repeating: 0, count: 70 * model.accumulatorWidth)
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
    let allowed = try #require(try AllocationThresholds()["families.dlrm.20-batches"])
    #expect(count <= allowed, "\(count) allocations")
  }
}
