public import Settings

extension ModelSpecification {
  /// Reads a specification from YAML text; `file` names it in messages. Throws all problems at once.
  public static func parse(yaml: String, file: String) throws(SettingsErrors) -> ModelSpecification {
    try SettingsReader.read(yaml: yaml, file: file) { node, reader in read(node, &reader) }
  }

  /// Reads the specification file at `path`.
  public static func load(path: String) throws(SettingsErrors) -> ModelSpecification {
    try SettingsReader.read(SettingsDocument.load(path: path)) { node, reader in read(node, &reader) }
  }

  /// Reads a specification from a node of a larger document. Nil when there were problems; they are in `reader` then.
  public static func read(_ node: SettingsNode, _ reader: inout SettingsReader) -> ModelSpecification? {
    let problemsBefore = reader.problems.count
    guard reader.keys(
      node, ["model", "version", "family", "loss", "shards", "features", "crosses", "learning", "label", "join"]) || node.isMap
    else { return nil }
    let name = reader.require(node, "model", "the model's name").flatMap { reader.string($0) } ?? ""
    let family = readFamily(node, &reader)
    let specification = ModelSpecification(
      name: name, version: reader.int(node, "version", default: 1), family: family, features: readFeatures(node, family, &reader),
      crosses: readCrosses(node, &reader), learning: readLearning(node, &reader), shards: reader.int(node, "shards", default: 1),
      label: readLabel(node, &reader), join: readJoin(node, &reader))
    // What the types could not say. A field that could not be read holds its default here, so it is not blamed twice;
    // a name that is missing has been told.
    for problem in specification.problems() where !(problem.path == "model" && name.isEmpty && node.child("model") == nil) {
      if problem.path == "features" && node.child("features") == nil { continue }
      if let unread = problem.absentFeature, node.child("features")?.has(unread) == true { continue }
      report(problem, node, &reader)
    }
    return reader.problems.count == problemsBefore ? specification : nil
  }

  /// Places a problem at the node that its path names, or at the nearest one above it.
  private static func report(_ problem: SpecificationProblem, _ root: SettingsNode, _ reader: inout SettingsReader) {
    var best = root
    let target = root.path.isEmpty ? problem.path : "\(root.path).\(problem.path)"
    var pending = [root]
    while let node = pending.popLast() {
      if node.path == target {
        best = node
        break
      }
      // Feature names may hold dots, so paths are compared, not split.
      if target.hasPrefix(node.path), node.path.utf8.count > best.path.utf8.count { best = node }
      for child in node.entries.map(\.value) + node.items where target.hasPrefix(child.path) { pending.append(child) }
    }
    if best.path == target {
      guard !reader.problems.contains(where: { $0.path == target }) else { return }
      reader.problem(best, problem.message)
    } else {
      reader.problem(best, "\(problem.path): \(problem.message)")
    }
  }

  private static func readFamily(_ node: SettingsNode, _ reader: inout SettingsReader) -> Family {
    let families: [(String, Family?)] = [("linear", nil), ("count", .count), ("loaded", .loaded)]
    if let family = node.child("family").flatMap({ reader.choice($0, families) ?? nil }) {
      if node.child("loss") != nil {
        reader.problem(node, "loss", "is for the linear family: a \(family == .count ? "count" : "model from a file") has none")
      }
      return family
    }
    guard let child = reader.require(node, "loss", "logistic, squared or poisson") else { return .linear(loss: .logistic) }
    return .linear(loss: reader.choice(child, Loss.allCases.map { ($0.name, $0) }) ?? .logistic)
  }

  private static func readFeatures(_ node: SettingsNode, _ family: Family, _ reader: inout SettingsReader) -> [Feature] {
    guard node.child("features") != nil else {
      if case .linear = family { _ = reader.require(node, "features", "a map from each feature's name to its type") }
      return []
    }
    guard let map = reader.map(node, "features") else { return [] }
    var features: [Feature] = []
    for entry in map.entries {
      if let feature = readFeature(entry.key, entry.value, &reader) { features.append(feature) }
    }
    return features
  }

  private static let kinds: [(String, Feature.Kind)] = [
    ("categorical", .categorical), ("numeric", .numeric), ("vector", .vector),
  ]

  private static func readFeature(_ name: String, _ node: SettingsNode, _ reader: inout SettingsReader) -> Feature? {
    guard node.isMap else {
      guard !node.isEmpty else {
        reader.problem(node, "expected categorical, numeric, or a map with type")
        return nil
      }
      guard let kind = reader.choice(node, kinds) else { return nil }
      guard kind != .vector else {
        reader.problem(node, "a vector has a size: {type: vector, size: 16}")
        return nil
      }
      return Feature(name: name, kind: kind)
    }
    reader.keys(
      node, ["type", "lowercase", "values", "size", "clip", "log1p", "multiply", "divide", "standardize", "buckets"])
    guard let type = reader.require(node, "type", "categorical, numeric or vector"), let kind = reader.choice(type, kinds) else { return nil }
    var transform = NumericTransform(
      log1p: reader.bool(node, "log1p", default: false), multiply: reader.double(node, "multiply", default: 1),
      divide: reader.double(node, "divide", default: 1))
    if node.has("clip") {
      let bounds = readNumbers(node, "clip", max: 2, &reader)
      if bounds.count == 2, bounds[0] <= bounds[1] {
        transform.clip = bounds[0]...bounds[1]
      } else if node.child("clip")?.isList != false {
        reader.problem(node, "clip", "expected [lowest, highest], two numbers in ascending order")
      }
    }
    if let standardize = reader.map(node, "standardize") {
      reader.keys(standardize, ["mean", "deviation"])
      transform.mean = reader.double(standardize, "mean", default: 0)
      transform.deviation = reader.double(standardize, "deviation", default: 1)
    }
    transform.buckets = readNumbers(node, "buckets", max: bucketsMax, &reader)
    var valuesMax = reader.int(node, "values", default: 1)
    if kind == .vector {
      if node.has("values") { reader.problem(node, "values", "is for categorical features: a vector has a size") }
      guard let size = reader.require(node, "size", "how many numbers the vector has") else { return nil }
      valuesMax = reader.int(size) ?? 1
    } else if node.has("size") {
      reader.problem(node, "size", "is for vectors")
    }
    return Feature(
      name: name, kind: kind, lowercase: reader.bool(node, "lowercase", default: false), valuesMax: valuesMax, transform: transform)
  }

  private static func readNumbers(_ node: SettingsNode, _ key: String, max: Int, _ reader: inout SettingsReader) -> [Double] {
    var numbers: [Double] = []
    for item in reader.list(node, key, max: max) {
      if let number = reader.double(item) { numbers.append(number) }
    }
    return numbers
  }

  private static func readCrosses(_ node: SettingsNode, _ reader: inout SettingsReader) -> [Cross] {
    var crosses: [Cross] = []
    for item in reader.list(node, "crosses", max: crossesMax) {
      guard item.isList else {
        reader.problem(item, "expected a list of feature names, as [origin, dest], found \(item.kind)")
        continue
      }
      var parts: [String] = []
      for part in item.items {
        if let name = reader.string(part) { parts.append(name) }
      }
      if parts.count == item.items.count { crosses.append(Cross(parts)) }
    }
    return crosses
  }

  private static func readLearning(_ node: SettingsNode, _ reader: inout SettingsReader) -> LearningSettings {
    guard let map = reader.map(node, "learning") else { return LearningSettings() }
    reader.keys(
      map, [
        "optimizer", "alpha", "beta", "l1", "l2", "gradient_bound", "in_flight_examples_max", "batch_examples_max",
        "validation_window_examples",
      ])
    _ = reader.choice(map, "optimizer", [("ftrl", true)], default: true)
    let normal = LearningSettings()
    let ftrl = normal.optimizer.ftrl
    return LearningSettings(
      optimizer: .ftrl(
        alpha: reader.double(map, "alpha", default: ftrl.alpha), beta: reader.double(map, "beta", default: ftrl.beta),
        l1: reader.double(map, "l1", default: ftrl.l1), l2: reader.double(map, "l2", default: ftrl.l2)),
      gradientBound: reader.double(map, "gradient_bound", default: normal.gradientBound),
      inFlightExamplesMax: reader.int(map, "in_flight_examples_max", default: normal.inFlightExamplesMax),
      batchExamplesMax: reader.int(map, "batch_examples_max", default: normal.batchExamplesMax),
      validationWindowExamples: reader.int(map, "validation_window_examples", default: normal.validationWindowExamples))
  }

  private static func readLabel(_ node: SettingsNode, _ reader: inout SettingsReader) -> LabelSettings {
    guard let map = reader.map(node, "label") else { return LabelSettings() }
    reader.keys(map, ["above", "minimum", "maximum", "weight_max"])
    return LabelSettings(
      above: map.child("above").flatMap { reader.double($0) }, minimum: map.child("minimum").flatMap { reader.double($0) },
      maximum: map.child("maximum").flatMap { reader.double($0) },
      weightMax: reader.double(map, "weight_max", default: LabelSettings().weightMax))
  }

  private static func readJoin(_ node: SettingsNode, _ reader: inout SettingsReader) -> JoinSettings {
    let normal = JoinSettings()
    guard let map = reader.map(node, "join") else { return normal }
    reader.keys(map, ["window", "on_expiry", "waiting_events_max", "negatives_kept", "seed"])
    return JoinSettings(
      windowMilliseconds: Int64(reader.milliseconds(map, "window", default: Int(normal.windowMilliseconds))),
      onExpiry: reader.choice(map, "on_expiry", [("drop", .drop), ("negative", .negative)], default: normal.onExpiry),
      waitingEventsMax: reader.int(map, "waiting_events_max", default: normal.waitingEventsMax),
      negativesKept: reader.double(map, "negatives_kept", default: normal.negativesKept),
      seed: UInt64(bitPattern: Int64(reader.int(map, "seed", in: 0 ... .max, default: 0))))
  }
}
