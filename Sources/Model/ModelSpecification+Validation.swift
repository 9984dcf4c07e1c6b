internal import Settings

/// What is wrong with a specification, and where: `path` as in YAML (`features.temp.divide`, `crosses[1]`).
public struct SpecificationProblem: Error, Sendable, Equatable, CustomStringConvertible {
  public let path: String
  public let message: String
  /// The feature that a cross names and that is not there; nil for other problems.
  let absentFeature: String?

  public init(path: String, message: String) { self.init(path: path, message: message, absentFeature: nil) }

  init(path: String, message: String, absentFeature: String?) {
    self.path = path
    self.message = message
    self.absentFeature = absentFeature
  }

  public var description: String { path.isEmpty ? message : "\(path): \(message)" }
}

/// Everything that is wrong with a specification.
public struct SpecificationErrors: Error, Sendable, Equatable, CustomStringConvertible {
  public let problems: [SpecificationProblem]

  public init(_ problems: [SpecificationProblem]) { self.problems = problems }

  public var description: String { problems.map(\.description).joined(separator: "\n") }
}

extension ModelSpecification {
  public static let nameBytesMax = 100
  public static let featureNameBytesMax = 256
  public static let featuresMax = 4096
  public static let crossesMax = 4096
  public static let crossPartsMax = 8
  /// Combinations of one cross in one event.
  public static let crossCombinationsMax = 4096
  public static let entriesPerRowLimit = 65_536
  public static let valuesLimit = 4096
  public static let bucketsMax = 1024
  public static let shardsMax = 1024
  public static let denseRowBytesMax = 16 << 20
  /// Names of single elements, over all tensors.
  public static let columnsMax = 65_536

  /// Everything that is wrong; empty for a valid specification. Both ways in, YAML and canonical bytes, end here.
  public func problems() -> [SpecificationProblem] {
    var found: [SpecificationProblem] = []
    func check(_ good: Bool, _ path: String, _ message: @autoclosure () -> String) {
      if !good { found.append(SpecificationProblem(path: path, message: message())) }
    }
    func absent(_ path: String, _ feature: String) {
      let hint = nearest(to: feature, in: features.map(\.name)).map { "; did you mean \"\($0)\"?" } ?? ""
      found.append(SpecificationProblem(
        path: path, message: "names \"\(feature)\", which is not among the features\(hint)", absentFeature: feature))
    }

    check(
      !name.isEmpty && name.utf8.count <= Self.nameBytesMax && name.utf8.allSatisfy(Self.isNameByte) && name != "." && name != "..",
      "model",
      "is \"\(name.prefix(120))\": a name has 1 to \(Self.nameBytesMax) letters, digits, \"_\", \"-\" or \".\", as it becomes part of topic names")
    check((1...Int(Int32.max)).contains(version), "version", "is \(version), expected 1 to \(Int32.max)")
    check((1...Self.shardsMax).contains(shards), "shards", "is \(shards), expected 1 to \(Self.shardsMax)")
    checkFeatures(check)
    checkTensors(check)
    checkCrosses(check, absent)
    checkLearning(check)
    checkLabel(check)

    check((1...Self.joinWindowMillisecondsMax).contains(join.windowMilliseconds), "join.window", "expected 1ms to 3650d")
    check((1...1 << 31).contains(join.waitingEventsMax), "join.waiting_events_max", "is \(join.waitingEventsMax), expected 1 to \(1 << 31)")
    check(
      join.negativesKept > 0 && join.negativesKept <= 1, "join.negatives_kept",
      "is \(join.negativesKept), expected a share above 0 and at most 1")
    if loss == .squared || loss == .poisson {
      check(join.negativesKept == 1, "join.negatives_kept", "is for logistic loss: \(loss?.name ?? "") has no negatives to sample")
    }
    return found
  }

  static let joinWindowMillisecondsMax: Int64 = 3650 * 86_400_000

  private typealias Check = (Bool, String, @autoclosure () -> String) -> Void

  /// The characters that Kafka allows in topic names.
  private static func isNameByte(_ byte: UInt8) -> Bool {
    (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || byte == 45 || byte == 46 || byte == 95
  }

  private func checkFeatures(_ check: Check) {
    if family != .count {
      check(!features.isEmpty, "features", "are none: a \(family == .loaded ? "" : "linear ")model needs at least one")
    }
    check(features.count <= Self.featuresMax, "features", "are \(features.count), at most \(Self.featuresMax) are allowed")
    var seen: Set<String> = []
    for feature in features {
      let path = "features.\(feature.name)"
      check(
        !feature.name.isEmpty && feature.name.utf8.count <= Self.featureNameBytesMax, path,
        "a feature name has 1 to \(Self.featureNameBytesMax) bytes")
      check(seen.insert(feature.name).inserted, path, "is declared twice")
      check(
        (1...Self.valuesLimit).contains(feature.valuesMax), feature.kind == .vector ? "\(path).size" : "\(path).values", "is \(feature.valuesMax), expected 1 to \(Self.valuesLimit)")
      let transform = feature.transform
      if feature.kind == .categorical {
        check(transform == NumericTransform(), path, "is categorical: clip, log1p, multiply, divide, standardize and buckets are for numeric features")
        continue
      }
      if feature.kind == .tensor {
        check(transform == NumericTransform(), path, "is a tensor: clip, log1p, multiply, divide, standardize and buckets are for numeric features")
        check(feature.valuesMax == 1, "\(path).values", "is for categorical features: a tensor has a shape")
      }
      check(!feature.lowercase, "\(path).lowercase", "is for categorical features")
      if feature.kind == .vector {
        check(transform.buckets.isEmpty, "\(path).buckets", "are for numeric features: a vector's numbers are values")
      } else {
        check(feature.valuesMax == 1, "\(path).values", "is for categorical features: a number comes alone, several are a vector")
      }
      if let clip = transform.clip {
        check(clip.lowerBound.isFinite && clip.upperBound.isFinite, "\(path).clip", "has a bound that is not finite")
      }
      check(transform.multiply.isFinite && transform.multiply != 0, "\(path).multiply", "is \(transform.multiply), expected a number other than 0")
      check(transform.divide.isFinite && transform.divide != 0, "\(path).divide", "is \(transform.divide), expected a number other than 0")
      check(transform.mean.isFinite, "\(path).standardize.mean", "is not finite")
      check(
        transform.deviation.isFinite && transform.deviation > 0, "\(path).standardize.deviation",
        "is \(transform.deviation), expected a number above 0")
      let buckets = transform.buckets
      check(buckets.count <= Self.bucketsMax, "\(path).buckets", "are \(buckets.count) bounds, at most \(Self.bucketsMax) are allowed")
      check(
        buckets.allSatisfy(\.isFinite) && zip(buckets, buckets.dropFirst()).allSatisfy { $0 < $1 }, "\(path).buckets",
        "expected finite bounds, each above the one before")
    }
  }

  private func checkCrosses(_ check: Check, _ absent: (String, String) -> Void) {
    check(crosses.count <= Self.crossesMax, "crosses", "are \(crosses.count), at most \(Self.crossesMax) are allowed")
    var seen: Set<Set<String>> = []
    for (index, cross) in crosses.enumerated() {
      let path = "crosses[\(index)]"
      check(
        (2...Self.crossPartsMax).contains(cross.features.count), path,
        "has \(cross.features.count) parts, expected 2 to \(Self.crossPartsMax)")
      check(Set(cross.features).count == cross.features.count, path, "names a feature twice")
      check(seen.insert(Set(cross.features)).inserted, path, "is given twice (the order of the parts adds nothing)")
      for (part, name) in cross.features.enumerated() {
        guard let feature = features.first(where: { $0.name == name }) else {
          absent("\(path)[\(part)]", name)
          continue
        }
        check(
          feature.isCrossable, "\(path)[\(part)]",
          "names \"\(name)\", which is \(feature.kind == .vector ? "a vector:" : "numeric: give it buckets, or") cross categorical features")
      }
      let combinations = combinationsMax(cross)
      check(
        combinations <= Self.crossCombinationsMax, path,
        "can have \(combinations) combinations in one event, at most \(Self.crossCombinationsMax) are allowed: lower the features' values")
    }
    check(
      entriesPerRowMax <= Self.entriesPerRowLimit, "features",
      "one event can have \(entriesPerRowMax) entries with its crosses, at most \(Self.entriesPerRowLimit) are allowed")
  }

  private func checkLearning(_ check: Check) {
    let (alpha, beta, l1, l2) = learning.optimizer.ftrl
    // Single precision must not make them zero.
    check(alpha >= 1e-9 && alpha <= 1000, "learning.alpha", "is \(alpha), expected 1e-9 to 1000")
    check(beta >= 1e-9 && beta <= 1e9, "learning.beta", "is \(beta), expected 1e-9 to 1e9")
    check(l1 >= 0 && l1 <= 1e9, "learning.l1", "is \(l1), expected 0 to 1e9")
    check(l2 >= 0 && l2 <= 1e9, "learning.l2", "is \(l2), expected 0 to 1e9")
    check(
      learning.gradientBound.isFinite && learning.gradientBound > 0 && learning.gradientBound <= 1e18, "learning.gradient_bound",
      "is \(learning.gradientBound), expected a number above 0 and at most 1e18")
    check(
      (1...1_000_000).contains(learning.inFlightExamplesMax), "learning.in_flight_examples_max",
      "is \(learning.inFlightExamplesMax), expected 1 to 1000000")
    check(
      (1...65_536).contains(learning.batchExamplesMax), "learning.batch_examples_max",
      "is \(learning.batchExamplesMax), expected 1 to 65536")
    check(
      (1...1_000_000_000).contains(learning.validationWindowExamples), "learning.validation_window_examples",
      "is \(learning.validationWindowExamples), expected 1 to 1000000000")
  }

  private func checkLabel(_ check: Check) {
    if let above = label.above {
      check(above.isFinite, "label.above", "is not finite")
      check(loss == .logistic, "label.above", "makes 0 or 1 of a label, which is for logistic loss")
    }
    // With `above` the raw label is whatever is compared; without it the loss sets the bounds.
    let natural = label.above == nil ? loss?.labels : nil
    for (value, key) in [(label.minimum, "minimum"), (label.maximum, "maximum")] {
      guard let value else { continue }
      check(value.isFinite, "label.\(key)", "is not finite")
      if let natural, let loss {
        check(
          natural.contains(value), "label.\(key)",
          "is \(value), and \(loss.name) loss is defined for labels \(loss == .logistic ? "from 0 to 1" : "of at least 0")")
      }
    }
    if let minimum = label.minimum, let maximum = label.maximum {
      check(minimum < maximum, "label.minimum", "is \(minimum), which is not below the maximum \(maximum)")
    }
    check(
      label.weightMax.isFinite && label.weightMax > 0 && label.weightMax <= 1e9, "label.weight_max",
      "is \(label.weightMax), expected a number above 0 and at most 1e9")
  }
}
