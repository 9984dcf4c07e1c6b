import Model
import Testing

private func assembler(_ features: [Feature], crosses: [Cross] = []) -> FeatureAssembler {
  FeatureAssembler(specification: ModelSpecification(name: "m", family: .linear(loss: .logistic), features: features, crosses: crosses))
}

@Suite struct FeatureAssemblerTests {
  @Test func rowsAreAsDefined() {
    let assembler = assembler(
      [.categorical("carrier"), .categorical("origin"), .numeric("temp", NumericTransform(divide: 50)), .categorical("dest")],
      crosses: [Cross(["origin", "dest"])])
    let batch = RowBatch()
    assembler.begin()
    #expect(assembler.text("dest", "SFO"))
    #expect(assembler.number("temp", 40))
    #expect(assembler.text("origin", "JFK"))
    #expect(assembler.text("carrier", "AA"))
    assembler.finish(into: batch)
    let row = batch.row(0)
    let cross = RowID.combine(categoricalID("origin", "JFK"), categoricalID("dest", "SFO"))
    #expect(row.map(\.id) == [
      categoricalID("carrier", "AA"), categoricalID("origin", "JFK"), numericID("temp"), categoricalID("dest", "SFO"), cross, RowID.bias,
    ])
    #expect(row.map(\.value) == [1, 1, 0.8, 1, 1, 1])
  }

  @Test func theOrderOfTheEventDoesNotMatter() {
    let seed = UInt64.random(in: 0 ... .max)
    var random = Seeded(seed)
    for round in 0..<200 {
      let model = randomModel(&random)
      let assembler = FeatureAssembler(specification: model)
      let batch = RowBatch(rowCapacity: 1, entryCapacity: 1)
      let given = model.features.filter { _ in Bool.random(using: &random) }
      for order in [given, given.shuffled(using: &random)] {
        assembler.begin()
        for feature in order {
          if feature.kind == .categorical {
            for value in 0..<feature.valuesMax { #expect(assembler.text(feature.name, "V\(value)")) }
          } else {
            #expect(assembler.number(feature.name, 1.25))
          }
        }
        assembler.finish(into: batch)
      }
      #expect(batch.ids(ofRow: 0) == batch.ids(ofRow: 1), "seed \(seed) round \(round)")
      #expect(batch.row(0).map(\.value) == batch.row(1).map(\.value), "seed \(seed) round \(round)")
      #expect(batch.row(0).count <= model.entriesPerRowMax, "seed \(seed) round \(round)")
      #expect(batch.ids(ofRow: 0) == expectedIDs(model, given: given), "seed \(seed) round \(round)")
    }
  }

  /// The ids by the documented definition, worked out another way.
  private func expectedIDs(_ model: ModelSpecification, given: [Feature]) -> [UInt64] {
    func ids(_ name: String) -> [UInt64] {
      guard let feature = given.first(where: { $0.name == name }) else { return [] }
      guard feature.kind == .numeric else {
        return (0..<feature.valuesMax).map { categoricalID(name, feature.lowercase ? "v\($0)" : "V\($0)") }
      }
      guard !feature.transform.buckets.isEmpty else { return [numericID(name)] }
      let number = feature.transform.apply(1.25)
      return [categoricalID(name, "\(feature.transform.buckets.filter { $0 <= number }.count)")]
    }
    var all = model.features.flatMap { ids($0.name) }
    for cross in model.crosses {
      var combined: [UInt64]?
      for part in cross.features.map(ids) {
        combined = combined.map { before in before.flatMap { a in part.map { RowID.combine(a, $0) } } } ?? part
      }
      all += combined ?? []
    }
    return all + [RowID.bias]
  }

  @Test func oneValueHasOneRowInEveryForm() {
    let assembler = assembler([.categorical("n")])
    let batch = RowBatch()
    let index = assembler.index("n")
    func row(_ give: () -> Bool) -> [UInt64] {
      batch.removeAll()
      assembler.begin()
      #expect(give())
      assembler.finish(into: batch)
      return batch.ids(ofRow: 0)
    }
    for value in [0, 5, -17, Int64.max, Int64.min] {
      #expect(row { assembler.integer(index, value) } == row { assembler.text("n", "\(value)") })
    }
    #expect(row { assembler.unsigned(index, .max) } == row { assembler.text("n", "\(UInt64.max)") })
    #expect(row { assembler.boolean(index, true) } == row { assembler.text("n", "true") })
    #expect(row { assembler.boolean(index, false) } == row { assembler.text("n", "false") })
    #expect(row { assembler.text("n", "") } != row { assembler.text("n", "0") })
  }

  @Test func whatCannotBeUsedIsRefusedAndNamed() {
    let assembler = assembler([.numeric("x", NumericTransform(log1p: true)), .categorical("c"), .numeric("y", NumericTransform(clip: 0...1))])
    func refused(_ problem: FeatureAssembler.Problem, _ field: String, _ give: () -> Bool) {
      assembler.begin()
      #expect(!give())
      #expect(assembler.problem == problem)
      #expect(assembler.problemField == field)
      #expect(assembler.problemText().contains("\"\(field)\""))
    }
    for bad in [Double.nan, .infinity, -.infinity, -1, -2] { refused(.notFinite, "x") { assembler.number("x", bad) } }
    // Clipping must not turn an infinity into a number that looks good.
    for bad in [Double.nan, .infinity, -.infinity] { refused(.notFinite, "y") { assembler.number("y", bad) } }
    refused(.wrongType, "x") { assembler.text("x", "5") }
    refused(.wrongType, "x") { assembler.boolean(0, true) }
    refused(.wrongType, "c") { assembler.number("c", 5) }
    refused(.tooManyValues, "c") { assembler.text("c", "a") && assembler.text("c", "b") }
    refused(.tooManyValues, "y") { assembler.number("y", 1) && assembler.number("y", 1) }
    let narrow = FeatureAssembler(specification: ModelSpecification(
      name: "m", family: .linear(loss: .squared), features: [.numeric("big")]))
    narrow.begin()
    #expect(!narrow.number("big", 1e300))  // finite as a double, not in a row
    #expect(narrow.number("big", 1e30))
  }

  @Test func absentPartsLeaveTheirCrossesOut() {
    let assembler = assembler([.categorical("a"), .categorical("b"), .categorical("c")], crosses: [Cross(["a", "b"]), Cross(["b", "c"])])
    let batch = RowBatch()
    assembler.begin()
    assembler.text("b", "1")
    assembler.text("c", "2")
    assembler.finish(into: batch)
    #expect(batch.ids(ofRow: 0) == [
      categoricalID("b", "1"), categoricalID("c", "2"), RowID.combine(categoricalID("b", "1"), categoricalID("c", "2")), RowID.bias,
    ])
    assembler.begin()
    assembler.finish(into: batch)
    #expect(batch.ids(ofRow: 1) == [RowID.bias])
  }

  @Test func unknownNamesAreNotFound() {
    let names = (0..<500).map { "feature-\($0)" }
    let assembler = assembler(names.map { Feature.categorical($0) })
    for (index, name) in names.enumerated() { #expect(assembler.index(name) == index) }
    for (index, name) in names.enumerated().reversed() { #expect(assembler.index(name) == index) }
    for name in ["", "feature", "feature-", "feature-500", "feature-1 ", "\u{0}"] { #expect(assembler.index(name) == -1) }
  }

  @Test func bucketsHoldTheirLowerBound() {
    let transform = NumericTransform(buckets: [0, 10, 20])
    #expect([-1, 0, 9.9, 10, 19, 20, 1e9].map(transform.bucket) == [0, 1, 1, 2, 2, 3, 3])
    let assembler = assembler([.numeric("x", transform), .categorical("c")], crosses: [Cross(["x", "c"])])
    let batch = RowBatch()
    assembler.begin()
    assembler.integer(0, 12)
    assembler.text("c", "v")
    assembler.finish(into: batch)
    #expect(batch.ids(ofRow: 0) == [
      categoricalID("x", "2"), categoricalID("c", "v"), RowID.combine(categoricalID("x", "2"), categoricalID("c", "v")), RowID.bias,
    ])
  }

  @Test func transformsHaveOneOrder() {
    let transform = NumericTransform(clip: 0...7, log1p: true, multiply: 3, divide: 2, mean: 1, deviation: 4)
    // log1p(7) = 3 log 2
    #expect(abs(transform.apply(100) - ((3 * 0.6931471805599453 * 3 / 2 - 1) / 4)) < 1e-15)
    #expect(NumericTransform(divide: 50).apply(39.02) == 39.02 / 50)
    #expect(NumericTransform().apply(-3) == -3)
  }

  @Test func aCountHasOneRow() {
    let assembler = FeatureAssembler(specification: ModelSpecification(name: "m", family: .count, features: [.categorical("a")]))
    let batch = RowBatch()
    for _ in 0..<3 {
      assembler.begin()
      assembler.text("a", "x")
      assembler.finish(into: batch)
    }
    #expect(batch.rowCount == 3)
    #expect(batch.ids(ofRow: 2) == [RowID.count])
  }

  @Test func longTextsAndLowercase() {
    let assembler = assembler([.categorical("c", lowercase: true)])
    let batch = RowBatch()
    let long = String(repeating: "ABCé", count: 1000)
    assembler.begin()
    #expect(assembler.text("c", long))
    assembler.finish(into: batch)
    #expect(batch.ids(ofRow: 0)[0] == categoricalID("c", String(repeating: "abcé", count: 1000)))
  }
}

@Suite struct RowBatchTests {
  @Test func growsAndRollsBack() {
    let batch = RowBatch(rowCapacity: 1, entryCapacity: 1)
    for row in 0..<100 {
      for entry in 0..<row { batch.append(id: UInt64(row * 1000 + entry), value: Float(entry)) }
      batch.endRow()
    }
    #expect(batch.rowCount == 100)
    #expect(batch.entryCount == 4950)
    #expect(batch.row(0).isEmpty)
    #expect(batch.ids(ofRow: 99) == (0..<99).map { UInt64(99_000 + $0) })
    batch.append(id: 1, value: 1)
    batch.rollback(toRow: 50)
    #expect(batch.rowCount == 50)
    #expect(batch.entryCount == 1225)
    batch.endRow()
    #expect(batch.row(50).isEmpty)
    batch.removeAll()
    #expect(batch.rowCount == 0)
    #expect(batch.entryCount == 0)
  }
}

@Suite struct PartitionTests {
  @Test func aKeyHasOnePartition() {
    #expect(partition(forKey: "flight-1", count: 8) == Int(hash64("flight-1", seed: 0) % 8))
    #expect(partition(forKey: "", count: 1) == 0)
    let counts = (0..<8000).reduce(into: [Int](repeating: 0, count: 8)) { $0[partition(forKey: "key-\($1)", count: 8)] += 1 }
    #expect(counts.allSatisfy { (850...1150).contains($0) })  // five deviations are 148
  }

  @Test func reservedRowsAreOnAShard() {
    #expect(RowID.bias != RowID.count)
    for count in [1, 2, 3, 64] {
      #expect((0..<count).contains(RowID.shard(of: RowID.bias, count: count)))
      #expect((0..<count).contains(RowID.shard(of: .max, count: count)))
    }
  }
}
