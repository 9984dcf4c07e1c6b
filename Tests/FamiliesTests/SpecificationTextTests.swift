@testable import Families
import Model
import Testing

@Suite struct SpecificationTextTests {
  @Test func whatWasWrittenIsReadBack() throws {
    let specification = ModelSpecification(
      name: "a.b", version: 3, family: .linear(loss: .poisson),
      features: [
        .categorical("z", lowercase: true, valuesMax: 7), .categorical("a \"quoted\" \\ name:\n\u{7F}\u{2028}é#"), .categorical("null"),
        .numeric("1", NumericTransform(clip: -1e-300...1e300, log1p: true, multiply: 0.1, divide: 1e-5, mean: -3, deviation: 2)),
        .numeric("b", NumericTransform(buckets: [-1.5, 0, 1e20])), .vector("yes", size: 12, NumericTransform(divide: 3)),
      ], crosses: [Cross(["z", "b"]), Cross(["null", "z", "b"])], shards: 5)
    #expect(specification.problems().isEmpty)
    #expect(try ModelSpecification.parse(yaml: specification.text, file: "text") == specification)
    let least = ModelSpecification(name: "c", family: .linear(loss: .squared), features: [.categorical("x")])
    #expect(try ModelSpecification.parse(yaml: least.text, file: "text") == least)
    #expect(try ModelSpecification.parse(yaml: ModelSpecification(name: "n", family: .count).text, file: "text").family == .count)
  }
}
