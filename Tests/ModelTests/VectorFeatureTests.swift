import Model
import Testing

@Suite struct VectorFeatureTests {
  private let yaml = """
    model: dense
    loss: logistic
    features:
      x: {type: vector, size: 3, divide: 2}
      city: categorical
    """

  @Test func aVectorHasASize() throws {
    let model = try ModelSpecification.parse(yaml: yaml, file: "m.yaml")
    #expect(model.features == [.vector("x", size: 3, NumericTransform(divide: 2)), .categorical("city")])
    #expect(model.entriesPerRowMax == 5)
    #expect(try ModelSpecification(canonicalBytes: model.canonicalBytes) == model)
    #expect(!model.features[0].isCrossable)
  }

  @Test(arguments: [
    ("{type: vector}", "features.x"), ("vector", "features.x"), ("{type: vector, size: 0}", "features.x.size"),
    ("{type: vector, size: 4097}", "features.x.size"), ("{type: vector, size: 2, values: 3}", "features.x.values"),
    ("{type: vector, size: 2, buckets: [1]}", "features.x.buckets"), ("{type: numeric, size: 2}", "features.x.size"),
    ("{type: vector, size: 2, lowercase: true}", "features.x.lowercase"),
  ])
  func mistakesAreNamed(feature: String, path: String) {
    #expect {
      try ModelSpecification.parse(yaml: "model: m\nloss: logistic\nfeatures:\n  x: \(feature)\n", file: "m.yaml")
    } throws: { "\($0)".contains(path) }
    #expect {
      try ModelSpecification.parse(
        yaml: "model: m\nloss: logistic\nfeatures:\n  x: {type: vector, size: 2}\n  a: categorical\ncrosses: [[a, x]]\n", file: "m.yaml")
    } throws: { "\($0)".contains("crosses[0][1]: names \"x\", which is a vector") }
  }

  @Test func eachPlaceHasARowOfItsOwn() throws {
    let model = try ModelSpecification.parse(yaml: yaml, file: "m.yaml")
    let assembler = FeatureAssembler(specification: model)
    let batch = RowBatch(rowCapacity: 1, entryCapacity: 1)
    for values in [[2.0, 4, 6], [-2, 0, 1]] {
      assembler.begin()
      #expect(assembler.text("city", "Oslo"))
      for value in values { #expect(assembler.number("x", value)) }
      #expect(assembler.finish(into: batch))
    }
    let seed = RowID.seed(feature: "x")
    let places = (0..<3).map { RowID.place($0, seed: seed) }
    #expect(batch.ids(ofRow: 0) == places + [categoricalID("city", "Oslo"), RowID.bias])
    #expect(batch.row(0).map(\.value) == [1, 2, 3, 1, 1])
    #expect(batch.row(1).map(\.value) == [-1, 0, 0.5, 1, 1])
    #expect(Set(places).count == 3)
    // Stands in logs: never changes.
    #expect(places == [0xAC19_1721_1068_70AD, 0x9BD5_9018_F3F8_3968, 0x8835_6EE7_2CBA_32ED])
    assembler.begin()
    #expect(assembler.number("x", 1))
    #expect(!assembler.finish(into: batch))
    #expect(assembler.problem == .tooFewValues && assembler.problemField == "x" && batch.rowCount == 2)
    for _ in 0..<2 { #expect(assembler.number("x", 1)) }
    #expect(!assembler.number("x", 1))
    #expect(assembler.problem == .tooManyValues)
  }
}
