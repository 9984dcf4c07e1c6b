import Model
import Settings
import Testing

private let flights = """
  model: flights
  version: 1
  family: linear
  loss: logistic
  shards: 2
  features:
    carrier: categorical
    origin: categorical
    dest: {type: categorical, lowercase: true}
    tags: {type: categorical, values: 8}
    temp: {type: numeric, divide: 50}
    delay: {type: numeric, clip: [-10, 600], log1p: false, standardize: {mean: 8, deviation: 20}}
    hour: {type: numeric, buckets: [6, 12, 18]}
  crosses:
    - [origin, dest]
    - [origin, hour]
  learning: {optimizer: ftrl, alpha: 0.1, beta: 1, l1: 0, l2: 0}
  label: {above: 15}
  join: {window: 30d, on_expiry: drop}
  """

private func errors(_ yaml: String) -> [String] {
  do {
    _ = try ModelSpecification.parse(yaml: yaml, file: "m.yaml")
    return []
  } catch {
    return error.problems.map(\.description)
  }
}

/// `flights` with one line replaced.
private func changed(_ line: String, _ replacement: String) -> String {
  precondition(flights.contains(line))
  return flights.split(separator: "\n", omittingEmptySubsequences: false)
    .map { $0.contains(line) ? replacement : String($0) }.joined(separator: "\n")
}

@Suite struct ModelSpecificationTests {
  @Test func aWholeModelIsRead() throws {
    let model = try ModelSpecification.parse(yaml: flights, file: "m.yaml")
    #expect(model.name == "flights")
    #expect(model.shards == 2)
    #expect(model.family == .linear(loss: .logistic))
    #expect(model.updatesTopic == "flights.1.updates")
    #expect(model.features.map(\.name) == ["carrier", "origin", "dest", "tags", "temp", "delay", "hour"])
    #expect(model.features[2] == .categorical("dest", lowercase: true))
    #expect(model.features[3].valuesMax == 8)
    #expect(model.features[4].transform == NumericTransform(divide: 50))
    #expect(model.features[5].transform == NumericTransform(clip: -10...600, mean: 8, deviation: 20))
    #expect(model.features[6].transform.buckets == [6, 12, 18])
    #expect(model.crosses == [Cross(["origin", "dest"]), Cross(["origin", "hour"])])
    #expect(model.learning.optimizer == .ftrl(alpha: 0.1, beta: 1, l1: 0, l2: 0))
    #expect(model.learning.inFlightExamplesMax == 1000)
    #expect(model.label.above == 15)
    #expect(model.join == JoinSettings(windowMilliseconds: 30 * 86_400_000, onExpiry: .drop))
    #expect(model.entriesPerRowMax == 1 + 6 + 8 + 2)
  }

  @Test func aCountNeedsNothingButAName() throws {
    let model = try ModelSpecification.parse(yaml: "model: counter\nfamily: count\n", file: "m.yaml")
    #expect(model.family == .count)
    #expect(model.loss == nil)
    #expect(model.finish(sum: 41) == 41)
  }

  @Test func allMistakesAtOnceWithTheirLines() {
    let yaml = """
      model: my model
      loss: logistc
      shards: 0
      features:
        carrier: categorial
        temp: {type: numeric, divde: 50}
        temp2: {type: numeric, divide: 0}
        origin: categorical
      crosses:
        - [carrier, orign]
        - [temp2, temp]
      learning: {alpha: -1}
      """
    let told = errors(yaml)
    for expected in [
      "m.yaml:1:8: model: is \"my model\"", "m.yaml:2:7: loss: expected logistic, squared or poisson", "m.yaml:3:9: shards: is 0",
      "m.yaml:5:12: features.carrier: expected categorical, numeric or vector", "m.yaml:6:25: features.temp.divde: unknown key; did you mean \"divide\"?",
      "m.yaml:7:34: features.temp2.divide: is 0.0", "m.yaml:10:15: crosses[0][1]: names \"orign\", which is not among the features; did you mean \"origin\"?",
      "m.yaml:11:6: crosses[1][0]: names \"temp2\", which is numeric", "m.yaml:12:19: learning.alpha: is -1.0",
    ] {
      #expect(told.contains { $0.hasPrefix(expected) }, "no \(expected) in:\n\(told.joined(separator: "\n"))")
    }
    // A cross with a feature that could not be read is not blamed for it.
    #expect(!told.contains { $0.contains("\"carrier\"") })
  }

  @Test(arguments: [
    ("model:", "model: a/b", "model"), ("model:", "model: ..", "model"), ("version:", "version: 0", "version"),
    ("version:", "version: 99999999999", "version"), ("shards:", "shards: 1025", "shards"), ("family:", "family: tree", "family"),
    ("loss:", "lss: logistic", "loss"), ("  tags:", "  tags: {type: categorical, values: 0}", "features.tags.values"),
    ("  tags:", "  tags: {type: categorical, divide: 2}", "features.tags"), ("  tags:", "  tags:", "features.tags"),
    ("  tags:", "  tags: [1]", "features.tags"), ("  temp:", "  temp: {type: numeric, lowercase: true}", "features.temp.lowercase"),
    ("  temp:", "  temp: {type: numeric, values: 2}", "features.temp.values"), ("  temp:", "  temp: {divide: 2}", "features.temp.type"),
    ("  temp:", "  temp: {type: numeric, clip: [2, 1]}", "features.temp.clip"),
    ("  temp:", "  temp: {type: numeric, clip: 3}", "features.temp.clip"),
    ("  temp:", "  temp: {type: numeric, multiply: 0}", "features.temp.multiply"),
    ("  temp:", "  temp: {type: numeric, standardize: {deviation: 0}}", "features.temp.standardize.deviation"),
    ("  hour:", "  hour: {type: numeric, buckets: [6, 6]}", "features.hour.buckets"),
    ("[origin, hour]", "  - [origin]", "crosses[1]"), ("[origin, hour]", "  - [origin, origin]", "crosses[1]"),
    ("[origin, hour]", "  - [dest, origin]", "crosses[1]"), ("[origin, hour]", "  - origin", "crosses[1]"),
    ("[origin, hour]", "  - [origin, temp]", "crosses[1][1]"), ("[origin, hour]", "  - [origin, nowhere]", "crosses[1][1]"),
    ("learning:", "learning: {alpha: 0}", "learning.alpha"), ("learning:", "learning: {beta: -1}", "learning.beta"),
    ("learning:", "learning: {l1: x}", "learning.l1"), ("learning:", "learning: {optimizer: adam}", "learning.optimizer"),
    ("learning:", "learning: {in_flight_examples_max: 0}", "learning.in_flight_examples_max"),
    ("learning:", "learning: {batch_examples_max: 100000}", "learning.batch_examples_max"),
    ("learning:", "learning: {gradient_bound: 0}", "learning.gradient_bound"),
    ("label:", "label: {minimum: -1}", "label.minimum"), ("label:", "label: {maximum: 2}", "label.maximum"),
    ("label:", "label: {weight_max: 0}", "label.weight_max"), ("join:", "join: {window: 0s}", "join.window"),
    ("join:", "join: {window: 5}", "join.window"), ("join:", "join: {on_expiry: keep}", "join.on_expiry"),
    ("join:", "join: {negatives_kept: 0}", "join.negatives_kept"), ("join:", "join: {waiting_events_max: 0}", "join.waiting_events_max"),
    ("join:", "join: {seed: -1}", "join.seed"),
  ]) func everyFieldHasItsRange(line: String, replacement: String, path: String) {
    let told = errors(changed(line, replacement))
    #expect(told.contains { $0.contains(": \(path): ") }, "\(replacement): \(told)")
    // One mistake, one complaint (an unknown key in the place of a required one makes two).
    #expect(told.count == (replacement.hasPrefix("lss") ? 2 : 1), "\(told)")
  }

  @Test func labelsDependOnTheLoss() throws {
    let logistic = try ModelSpecification.parse(yaml: "model: a\nloss: logistic\nfeatures: {x: numeric}", file: "m")
    #expect(logistic.label(raw: 0.5) == 0.5)
    #expect(logistic.label(raw: 1) == 1)
    #expect(logistic.label(raw: -0.1) == nil)
    #expect(logistic.label(raw: 1.1) == nil)
    #expect(logistic.label(raw: .nan) == nil)
    let poisson = try ModelSpecification.parse(yaml: "model: a\nloss: poisson\nfeatures: {x: numeric}\nlabel: {maximum: 1000}", file: "m")
    #expect(poisson.label(raw: -1) == nil)
    #expect(poisson.label(raw: 1000) == 1000)
    #expect(poisson.label(raw: 1001) == nil)
    let squared = try ModelSpecification.parse(yaml: "model: a\nloss: squared\nfeatures: {x: numeric}", file: "m")
    #expect(squared.label(raw: -1e9) == -1e9)
    #expect(squared.label(raw: .infinity) == nil)
    let above = try ModelSpecification.parse(yaml: flights, file: "m")
    #expect(above.label(raw: 15) == 0)
    #expect(above.label(raw: 16) == 1)
    #expect(above.label(raw: -60) == 0)
    #expect(above.label(raw: .nan) == nil)
    #expect(errors("model: a\nloss: poisson\nfeatures: {x: numeric}\nlabel: {minimum: -1}").count == 1)
    #expect(errors("model: a\nloss: squared\nfeatures: {x: numeric}\nlabel: {above: 1}").count == 1)
    #expect(errors("model: a\nloss: squared\nfeatures: {x: numeric}\njoin: {negatives_kept: 0.5}").count == 1)
    #expect(errors("model: a\nloss: squared\nfeatures: {x: numeric}\nlabel: {minimum: 2, maximum: 1}").count == 1)
  }

  @Test func crossesOfManyValuesAreBounded() {
    let yaml = """
      model: m
      loss: logistic
      features: {a: {type: categorical, values: 100}, b: {type: categorical, values: 100}}
      crosses: [[a, b]]
      """
    #expect(errors(yaml).contains { $0.contains("crosses[0]: can have 10000 combinations") })
  }

  @Test func aModelInsideALargerDocumentKeepsItsPath() throws {
    let node = try SettingsDocument.parse(yaml: "models:\n  - model: m\n    loss: logistic\n    features: {x: numeric}\n    shards: -1\n", file: "c.yaml")
    var reader = SettingsReader()
    for item in reader.list(node, "models") { #expect(ModelSpecification.read(item, &reader) == nil) }
    #expect(reader.problems.map(\.description) == ["c.yaml:5:13: models[0].shards: is -1, expected 1 to 1024"])
  }

  @Test func negativesAreSampledByTheirIDs() {
    let join = JoinSettings(negativesKept: 0.25, seed: 7)
    let kept = (0..<4000).filter { number in
      var id = "event-\(number)"
      return id.withUTF8 { join.keepsNegative(id: UnsafeRawBufferPointer($0)) }
    }.count
    #expect((900...1100).contains(kept))  // five deviations are 137
  }
}

@Suite struct CanonicalBytesTests {
  @Test func bytesAndModelAreOne() throws {
    let model = try ModelSpecification.parse(yaml: flights, file: "m.yaml")
    let bytes = model.canonicalBytes
    let back = try ModelSpecification(canonicalBytes: bytes)
    #expect(back == model)
    #expect(back.canonicalBytes == bytes)
    #expect(back.hash == model.hash)
  }

  /// What stands in logs must not change: a new field is a new format.
  @Test func theHashIsForever() throws {
    let model = try ModelSpecification.parse(yaml: "model: m\nloss: logistic\nfeatures: {x: numeric}", file: "m.yaml")
    #expect(model.canonicalBytes.count == 199)
    #expect(model.hash == 1_450_491_020_176_568_493)
  }

  @Test func everyChangeChangesTheHash() throws {
    let model = try ModelSpecification.parse(yaml: flights, file: "m.yaml")
    var variants: [ModelSpecification] = [model]
    func vary(_ change: (inout ModelSpecification) -> Void) {
      var copy = model
      change(&copy)
      #expect(copy != model)
      variants.append(copy)
    }
    vary { $0.name = "flightz" }
    vary { $0.version = 2 }
    vary { $0.shards = 3 }
    vary { $0.family = .linear(loss: .squared) }
    vary { $0.family = .count }
    vary { $0.features.swapAt(0, 1) }
    vary { $0.features[0].name = "carriers" }
    vary { $0.features[0].lowercase = true }
    vary { $0.features[0].valuesMax = 2 }
    vary { $0.features[4].transform.divide = 51 }
    vary { $0.features[4].transform.multiply = 2 }
    vary { $0.features[4].transform.log1p = true }
    vary { $0.features[5].transform.clip = nil }
    vary { $0.features[5].transform.mean = 9 }
    vary { $0.features[5].transform.deviation = 9 }
    vary { $0.features[6].transform.buckets = [6, 12] }
    vary { $0.crosses.swapAt(0, 1) }
    vary { $0.crosses[0].features.reverse() }
    vary { $0.crosses.removeLast() }
    vary { $0.learning.optimizer = .ftrl(alpha: 0.2, beta: 1, l1: 0, l2: 0) }
    vary { $0.learning.optimizer = .ftrl(alpha: 0.1, beta: 1, l1: 0, l2: 1) }
    vary { $0.learning.gradientBound = 5 }
    vary { $0.learning.inFlightExamplesMax = 5 }
    vary { $0.learning.batchExamplesMax = 5 }
    vary { $0.learning.validationWindowExamples = 5 }
    vary { $0.label.above = nil }
    vary { $0.label.minimum = 1 }
    vary { $0.label.maximum = 1 }
    vary { $0.label.weightMax = 1 }
    vary { $0.join.windowMilliseconds = 1 }
    vary { $0.join.onExpiry = .negative }
    vary { $0.join.waitingEventsMax = 1 }
    vary { $0.join.negativesKept = 0.5 }
    vary { $0.join.seed = 1 }
    #expect(Set(variants.map(\.hash)).count == variants.count)
  }

  @Test func zerosOfBothSignsAreOne() throws {
    var a = try ModelSpecification.parse(yaml: flights, file: "m.yaml")
    var b = a
    a.label.minimum = 0.0
    b.label.minimum = -0.0
    #expect(a == b)
    #expect(a.canonicalBytes == b.canonicalBytes)
  }

  @Test func truncatedFlippedAndLongerBytesAreErrorsOrOtherModels() throws {
    let model = try ModelSpecification.parse(yaml: flights, file: "m.yaml")
    let bytes = model.canonicalBytes
    for count in 0..<bytes.count {
      #expect(throws: SpecificationErrors.self) { try ModelSpecification(canonicalBytes: Array(bytes[..<count])) }
    }
    #expect(throws: SpecificationErrors.self) { try ModelSpecification(canonicalBytes: bytes + [0]) }
    for position in bytes.indices {
      for bit in 0..<8 {
        var flipped = bytes
        flipped[position] ^= 1 << bit
        // Either refused, or a valid other model that has exactly these bytes.
        if let other = try? ModelSpecification(canonicalBytes: flipped) {
          #expect(other.canonicalBytes == flipped, "byte \(position) bit \(bit)")
          #expect(other != model)
        }
      }
    }
  }

  @Test func randomModelsRoundTrip() throws {
    let seed = UInt64.random(in: 0 ... .max)
    var random = Seeded(seed)
    for round in 0..<300 {
      let model = randomModel(&random)
      try #require(model.problems().isEmpty, "seed \(seed) round \(round): \(model.problems())")
      let back = try ModelSpecification(canonicalBytes: model.canonicalBytes)
      #expect(back == model, "seed \(seed) round \(round)")
      #expect(back.hash == model.hash, "seed \(seed) round \(round)")
    }
  }
}

/// A valid model of up to 12 features.
func randomModel(_ random: inout Seeded) -> ModelSpecification {
  var features: [Feature] = []
  for index in 0..<Int.random(in: 1...12, using: &random) {
    let name = "f\(index)" + String(repeating: "é", count: Int.random(in: 0...3, using: &random))
    if Bool.random(using: &random) {
      features.append(.categorical(name, lowercase: .random(using: &random), valuesMax: Int.random(in: 1...4, using: &random)))
    } else {
      var transform = NumericTransform(divide: Double.random(in: 0.1...10, using: &random))
      if Bool.random(using: &random) { transform.clip = -100...100 }
      if Bool.random(using: &random) { transform.mean = 3 }
      if Bool.random(using: &random) { transform.buckets = [-1, 0, 2.5] }
      features.append(.numeric(name, transform))
    }
  }
  let crossable = features.filter(\.isCrossable).map(\.name)
  var crosses: [Cross] = []
  if crossable.count >= 2 { crosses.append(Cross(Array(crossable.shuffled(using: &random).prefix(2)))) }
  if crossable.count >= 3 { crosses.append(Cross(Array(crossable.shuffled(using: &random).prefix(3)))) }
  return ModelSpecification(
    name: "m\(Int.random(in: 0...9, using: &random))", version: Int.random(in: 1...9, using: &random),
    family: .linear(loss: Loss.allCases.randomElement(using: &random) ?? .logistic), features: features, crosses: crosses,
    shards: Int.random(in: 1...8, using: &random))
}
