import Families
import Model

/// What stands in the document, in whatever order, and the model that it makes.
struct XGBoostReader<Cursor: DocumentCursor> {
  private var version: [Int] = []
  private var attributes: [String: String] = [:]
  private var featureNames: [String] = []
  private var featureTypes: [String] = []
  private var parameters: [String: String] = [:]
  private var objectiveName: String?
  private var hasLearner = false
  private var booster: XGBoostBooster<Cursor>?

  mutating func read(_ start: Cursor, _ iterations: XGBoostModel.Iterations) throws(ImportError) -> ImportedModel {
    var cursor = start
    try readDocument(&cursor)
    try cursor.finish()
    return try model(iterations)
  }

  // MARK: The document

  private mutating func readDocument(_ cursor: inout Cursor) throws(ImportError) {
    var reader = self
    try cursor.object { (cursor, key) throws(ImportError) in
      switch key {
      case "learner": try reader.readLearner(&cursor)
      case "version":
        var numbers: [Int32] = []
        try cursor.integers(into: &numbers)
        reader.version = numbers.map { Int($0) }
      case "Model":
        // A pickled Booster: the model beside its training configuration.
        try cursor.object { (cursor, key) throws(ImportError) in
          switch key {
          case "learner": try reader.readLearner(&cursor)
          case "version":
            var numbers: [Int32] = []
            try cursor.integers(into: &numbers)
            reader.version = numbers.map { Int($0) }
          default: try cursor.skip()
          }
        }
      default: try cursor.skip()
      }
    }
    self = reader
    guard hasLearner else { throw ImportError(place: "document", reason: "no \"learner\": it is not a model of XGBoost") }
  }

  private mutating func readLearner(_ cursor: inout Cursor) throws(ImportError) {
    try cursor.claim(&hasLearner, "learner")
    var reader = self
    try cursor.object { (cursor, key) throws(ImportError) in
      switch key {
      case "attributes": reader.attributes = try Self.textMembers(&cursor)
      case "feature_names": reader.featureNames = try cursor.texts()
      case "feature_types": reader.featureTypes = try cursor.texts()
      case "learner_model_param": reader.parameters = try Self.textMembers(&cursor)
      case "objective":
        try cursor.object { (cursor, key) throws(ImportError) in
          if key == "name" { reader.objectiveName = try cursor.text() } else { try cursor.skip() }
        }
      case "gradient_booster":
        guard reader.booster == nil else { throw cursor.problem("a second \"gradient_booster\"") }
        var booster = XGBoostBooster<Cursor>()
        try booster.read(&cursor)
        reader.booster = booster
      default: try cursor.skip()
      }
    }
    self = reader
  }

  private static func textMembers(_ cursor: inout Cursor) throws(ImportError) -> [String: String] {
    var all: [String: String] = [:]
    try cursor.object { (cursor, key) throws(ImportError) in
      if let text = try cursor.textOrNil() { all[key] = text }
    }
    return all
  }

  // MARK: The model

  private func model(_ iterations: XGBoostModel.Iterations) throws(ImportError) -> ImportedModel {
    guard var booster else { throw ImportError(place: "learner", reason: "no \"gradient_booster\"") }
    guard let objectiveName else { throw ImportError(place: "learner.objective", reason: "no \"name\"") }
    let objective = try XGBoostObjective(named: objectiveName, place: "learner.objective.name")
    let featureCount = try parameter("num_feature", max: XGBoostModel.featuresMax)
    let classCount = try parameter("num_class", max: XGBoostModel.outputsMax)
    let targetCount = parameters["num_target"] == nil ? 1 : try parameter("num_target", max: XGBoostModel.outputsMax)
    guard classCount <= 1 || targetCount <= 1 else {
      throw ImportError(place: "learner.learner_model_param", reason: "\(classCount) classes and \(targetCount) targets at once")
    }
    let outputCount = max(classCount, targetCount, 1)
    if objectiveName == "reg:quantileerror", outputCount > 1, version.count >= 2, (version[0], version[1]) >= (3, 3) {
      throw ImportError(
        place: "learner.objective",
        reason: "several quantiles at once are put in order by XGBoost from 3.3 on, which is not done here: train one model for each quantile")
    }
    guard featureNames.isEmpty || featureNames.count == featureCount else {
      throw ImportError(place: "learner.feature_names", reason: "\(featureNames.count) names for \(featureCount) features")
    }
    let margins = try baseMargins(objective, outputCount)
    var notes: [String] = []
    let outputs = [OutputTensor(name: "output", shape: [objective.link == .argmax ? 1 : outputCount])]
    let toolVersion = version.map(String.init).joined(separator: ".")

    switch booster.name {
    case "gbtree", "dart":
      let kept = try iterationCount(booster, iterations, outputCount, &notes)
      var ensemble = try booster.takeEnsemble(featureCount: featureCount, outputCount: outputCount, iterations: kept)
      ensemble.baseScores = margins.map(Double.init)
      ensemble.link = objective.link
      ensemble.featureNames = featureNames
      let named = XGBoostCategories.whole(booster.categories, version: version, featureNames: featureNames, notes: &notes)
      let categories = NamedColumn.usable(named, featureCount: featureCount, featureNames: featureNames, notes: &notes)
      return ImportedModel(
        body: .trees(ensemble), outputs: outputs, featureCount: featureCount, featureNames: featureNames, categories: categories,
        tool: "XGBoost", toolVersion: toolVersion, objective: objectiveName, notes: notes)
    case "gblinear":
      let linear = try linearBody(booster, objective, margins, featureCount)
      return ImportedModel(
        body: .linear(linear), outputs: outputs, featureCount: featureCount, featureNames: featureNames, tool: "XGBoost",
        toolVersion: toolVersion, objective: objectiveName, notes: notes)
    default:
      throw ImportError(place: "learner.gradient_booster.name", reason: "booster \"\(booster.name)\" is not known")
    }
  }

  /// gblinear starts every output from the first base score, and then adds the output's bias, in float.
  private func linearBody(
    _ booster: XGBoostBooster<Cursor>, _ objective: XGBoostObjective, _ margins: [Float], _ featureCount: Int
  ) throws(ImportError) -> ImportedModel.LinearBody {
    let place = "learner.gradient_booster.model.weights"
    guard let all = booster.linearWeights else { throw ImportError(place: place, reason: "there are none") }
    let outputCount = margins.count
    guard all.count == (featureCount + 1) * outputCount else {
      throw ImportError(place: place, reason: "\(all.count) weights for \(featureCount) features, a bias and \(outputCount) outputs")
    }
    for (index, weight) in all.enumerated() where !weight.isFinite {
      throw ImportError(place: "\(place)[\(index)]", reason: "\(weight) is no weight")
    }
    return ImportedModel.LinearBody(
      weights: Array(all.prefix(featureCount * outputCount)), biases: all.suffix(outputCount).map { $0 + margins[0] }, link: objective.link)
  }

  /// Iterations that take part; nil: all of them.
  private func iterationCount(
    _ booster: XGBoostBooster<Cursor>, _ wanted: XGBoostModel.Iterations, _ outputCount: Int, _ notes: inout [String]
  ) throws(ImportError) -> Int? {
    guard wanted != .all, let text = attributes["best_iteration"] else { return nil }
    guard let best = Int(text), best >= 0, best < Int(Int32.max) else {
      throw ImportError(place: "learner.attributes.best_iteration", reason: "\"\(text)\" is no iteration")
    }
    if wanted == .asSaved, attributes["scikit_learn"] == nil {
      notes.append("all trees are used, as Booster.predict does; early stopping found iteration \(best) best")
      return nil
    }
    notes.append("trees up to iteration \(best) are used, which early stopping found best")
    return best + 1
  }

  private func parameter(_ key: String, max: Int) throws(ImportError) -> Int {
    guard let text = parameters[key] else { throw ImportError(place: "learner.learner_model_param", reason: "no \"\(key)\"") }
    guard let value = Int(text), value >= 0, value <= max else {
      throw ImportError(place: "learner.learner_model_param.\(key)", reason: "\"\(text)\" is not between 0 and \(max)")
    }
    return value
  }

  /// `base_score` is one number for all outputs, or from 3.1 on "[…]" with one for each.
  private func baseMargins(_ objective: XGBoostObjective, _ outputCount: Int) throws(ImportError) -> [Float] {
    let place = "learner.learner_model_param.base_score"
    guard let text = parameters["base_score"] else { throw ImportError(place: place, reason: "there is none") }
    var copy = text
    let read = copy.withUTF8 { utf8 in
      Result { () throws(ImportError) -> [Float] in
        var cursor = JSONCursor(UnsafeRawBufferPointer(utf8))
        var values: [Float] = []
        do throws(ImportError) {
          if try cursor.kind() == .array { try cursor.floats(into: &values) } else { values = [try cursor.float()] }
          try cursor.finish()
        } catch {
          throw ImportError(place: place, reason: "\"\(text.prefix(40))\": \(error.reason)")
        }
        return values
      }
    }
    var values = try read.get()
    if values.count == 1 { values = Array(repeating: values[0], count: outputCount) }
    guard values.count == outputCount else { throw ImportError(place: place, reason: "\(values.count) values for \(outputCount) outputs") }
    var margins: [Float] = []
    for value in values {
      guard let margin = objective.margin(value) else {
        throw ImportError(place: place, reason: "\(value) is no base score of \(objective.name)")
      }
      margins.append(margin)
    }
    return margins
  }
}
