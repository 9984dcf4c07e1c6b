internal import Model

extension ModelSpecification {
  /// The specification as YAML that `parse` reads back: name, version, shards, features and crosses. What concerns learning is left out:
  /// models from files do not learn. Tensors are a model's inputs, and no features of such a text.
  var text: String {
    var lines = ["model: \(Self.quoted(name))", "version: \(version)", "shards: \(shards)"]
    switch family {
    case .linear(let loss): lines += ["family: linear", "loss: \(loss.name)"]
    case .count: lines += ["family: count"]
    case .loaded: lines += ["family: loaded"]
    }
    lines.append("features:")
    for feature in features where feature.kind != .tensor { lines.append("  \(Self.quoted(feature.name)): {\(Self.settings(feature).joined(separator: ", "))}") }
    if !crosses.isEmpty { lines.append("crosses:") }
    for cross in crosses { lines.append("  - [\(cross.features.map(Self.quoted).joined(separator: ", "))]") }
    return lines.joined(separator: "\n") + "\n"
  }

  private static func settings(_ feature: Feature) -> [String] {
    let transform = feature.transform
    var settings: [String]
    switch feature.kind {
    case .categorical:
      settings = ["type: categorical"]
      if feature.lowercase { settings.append("lowercase: true") }
      if feature.valuesMax != 1 { settings.append("values: \(feature.valuesMax)") }
    case .numeric, .tensor: settings = ["type: numeric"]
    case .vector: settings = ["type: vector", "size: \(feature.valuesMax)"]
    }
    if let clip = transform.clip { settings.append("clip: [\(clip.lowerBound), \(clip.upperBound)]") }
    if transform.log1p { settings.append("log1p: true") }
    if transform.multiply != 1 { settings.append("multiply: \(transform.multiply)") }
    if transform.divide != 1 { settings.append("divide: \(transform.divide)") }
    if transform.mean != 0 || transform.deviation != 1 {
      settings.append("standardize: {mean: \(transform.mean), deviation: \(transform.deviation)}")
    }
    if !transform.buckets.isEmpty { settings.append("buckets: [\(transform.buckets.map { "\($0)" }.joined(separator: ", "))]") }
    return settings
  }

  /// A text as YAML's double quotes take it.
  private static func quoted(_ text: String) -> String {
    var quoted = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": quoted += "\\\""
      case "\\": quoted += "\\\\"
      case _ where scalar.value < 32 || (127..<160).contains(scalar.value) || scalar.value == 0x2028 || scalar.value == 0x2029:
        let digits = String(scalar.value, radix: 16)
        quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: quoted.unicodeScalars.append(scalar)
      }
    }
    return quoted + "\""
  }
}
