/// The canonical form: one specification, one sequence of bytes.
///
/// Little-endian. `"MRSP"`, u16 format (1), then the fields in the order of `canonicalBytes` below: texts as u32 length and UTF-8, lists as u32
/// count and items, numbers as i64 or the bits of a double, optionals as a byte 0 or 1 and the value. A new field is a new format; a vector's size stands where
/// other features have how many values they may have.
///
/// Format 3 is that of models from files (family `loaded`, and only that): each feature is followed by its place in the dense row, with the
/// names of categories. (Format 2 was the same without these names; nothing keeps it.) What learns has format 1, whose bytes stand in logs.
extension ModelSpecification {
  public static let canonicalFormat: UInt16 = 1
  public static let loadedCanonicalFormat: UInt16 = 3
  public static let canonicalBytesMax = 8 << 20
  /// Names of categories are many.
  public static let loadedCanonicalBytesMax = 64 << 20

  public var canonicalBytes: [UInt8] {
    var writer = CanonicalWriter()
    writer.bytes += Array("MRSP".utf8)
    let isLoaded = family == .loaded
    writer.integer(isLoaded ? Self.loadedCanonicalFormat : Self.canonicalFormat)
    writer.text(name)
    writer.integer(Int64(version))
    writer.integer(Int64(shards))
    switch family {
    case .linear(let loss):
      writer.integer(UInt8(1))
      writer.integer(loss.rawValue)
    case .count:
      writer.integer(UInt8(2))
    case .loaded:
      writer.integer(UInt8(3))
    }
    writer.integer(UInt32(features.count))
    for feature in features {
      writer.text(feature.name)
      writer.integer(feature.kind.rawValue)
      writer.flag(feature.lowercase)
      writer.integer(Int64(feature.valuesMax))
      let transform = feature.transform
      writer.flag(transform.clip != nil)
      if let clip = transform.clip {
        writer.number(clip.lowerBound)
        writer.number(clip.upperBound)
      }
      writer.flag(transform.log1p)
      for value in [transform.multiply, transform.divide, transform.mean, transform.deviation] { writer.number(value) }
      writer.integer(UInt32(transform.buckets.count))
      for bound in transform.buckets { writer.number(bound) }
      if isLoaded { writer.place(feature.tensor) }
    }
    writer.integer(UInt32(crosses.count))
    for cross in crosses {
      writer.integer(UInt32(cross.features.count))
      for part in cross.features { writer.text(part) }
    }
    let ftrl = learning.optimizer.ftrl
    writer.integer(UInt8(1))
    for value in [ftrl.alpha, ftrl.beta, ftrl.l1, ftrl.l2, learning.gradientBound] { writer.number(value) }
    for value in [learning.inFlightExamplesMax, learning.batchExamplesMax, learning.validationWindowExamples] {
      writer.integer(Int64(value))
    }
    for value in [label.above, label.minimum, label.maximum] {
      writer.flag(value != nil)
      if let value { writer.number(value) }
    }
    writer.number(label.weightMax)
    writer.integer(join.windowMilliseconds)
    writer.integer(join.onExpiry.rawValue)
    writer.integer(Int64(join.waitingEventsMax))
    writer.number(join.negativesKept)
    writer.integer(join.seed)
    return writer.bytes
  }

  /// Reads the canonical form; throws when the bytes are not one, or the specification in them is not valid.
  public init(canonicalBytes bytes: [UInt8]) throws(SpecificationErrors) {
    do {
      self = try Self.decoded(bytes)
    } catch {
      throw SpecificationErrors([error])
    }
    let found = problems()
    guard found.isEmpty else { throw SpecificationErrors(found) }
  }

  private static func decoded(_ bytes: [UInt8]) throws(SpecificationProblem) -> ModelSpecification {
    var reader = CanonicalReader(bytes: bytes)
    guard bytes.starts(with: "MRSP".utf8) else {
      throw SpecificationProblem(path: "", message: "the bytes are no specification: they do not start with MRSP")
    }
    reader.position = 4
    let format: UInt16 = try reader.integer("format")
    guard format == canonicalFormat || format == loadedCanonicalFormat else {
      throw SpecificationProblem(
        path: "", message: "a specification of format \(format), this program knows \(canonicalFormat) and \(loadedCanonicalFormat)")
    }
    let bytesMax = format == canonicalFormat ? canonicalBytesMax : loadedCanonicalBytesMax
    guard bytes.count <= bytesMax else {
      throw SpecificationProblem(path: "", message: "a specification of \(bytes.count) bytes, at most \(bytesMax) are allowed")
    }
    let name = try reader.text("model", max: nameBytesMax)
    let version = try reader.int("version")
    let shards = try reader.int("shards")
    let family: Family
    switch try reader.integer("family") as UInt8 {
    case 1: family = .linear(loss: try reader.raw("loss"))
    case 2: family = .count
    case 3: family = .loaded
    case let other: throw SpecificationProblem(path: "family", message: "unknown family \(other)")
    }
    guard (family == .loaded) == (format == loadedCanonicalFormat) else {
      throw SpecificationProblem(path: "family", message: "is not one of format \(format)")
    }
    var features: [Feature] = []
    for _ in 0..<(try reader.count("features", max: featuresMax)) {
      var feature = try feature(&reader)
      if family == .loaded { feature.tensor = try reader.place("features.\(feature.name)") }
      features.append(feature)
    }
    var crosses: [Cross] = []
    for _ in 0..<(try reader.count("crosses", max: crossesMax)) {
      var parts: [String] = []
      for _ in 0..<(try reader.count("crosses", max: crossPartsMax)) {
        parts.append(try reader.text("crosses", max: featureNameBytesMax))
      }
      crosses.append(Cross(parts))
    }
    guard try reader.integer("learning.optimizer") as UInt8 == 1 else {
      throw SpecificationProblem(path: "learning.optimizer", message: "unknown optimizer")
    }
    let optimizer = LearningSettings.Optimizer.ftrl(
      alpha: try reader.number("learning.alpha"), beta: try reader.number("learning.beta"), l1: try reader.number("learning.l1"),
      l2: try reader.number("learning.l2"))
    let learning = LearningSettings(
      optimizer: optimizer, gradientBound: try reader.number("learning.gradient_bound"),
      inFlightExamplesMax: try reader.int("learning.in_flight_examples_max"),
      batchExamplesMax: try reader.int("learning.batch_examples_max"),
      validationWindowExamples: try reader.int("learning.validation_window_examples"))
    let label = LabelSettings(
      above: try reader.optional("label.above"), minimum: try reader.optional("label.minimum"),
      maximum: try reader.optional("label.maximum"), weightMax: try reader.number("label.weight_max"))
    let join = JoinSettings(
      windowMilliseconds: try reader.integer("join.window"), onExpiry: try reader.raw("join.on_expiry"),
      waitingEventsMax: try reader.int("join.waiting_events_max"), negativesKept: try reader.number("join.negatives_kept"),
      seed: try reader.integer("join.seed"))
    guard reader.position == bytes.count else {
      throw SpecificationProblem(path: "", message: "\(bytes.count - reader.position) bytes are left over after the specification")
    }
    return ModelSpecification(
      name: name, version: version, family: family, features: features, crosses: crosses, learning: learning, shards: shards,
      label: label, join: join)
  }

  private static func feature(_ reader: inout CanonicalReader) throws(SpecificationProblem) -> Feature {
    let name = try reader.text("features", max: featureNameBytesMax)
    let path = "features.\(name)"
    let kind: Feature.Kind = try reader.raw(path)
    let lowercase = try reader.flag("\(path).lowercase")
    let valuesMax = try reader.int("\(path).values")
    var transform = NumericTransform()
    if try reader.flag("\(path).clip") {
      let low = try reader.number("\(path).clip")
      let high = try reader.number("\(path).clip")
      guard low <= high else { throw SpecificationProblem(path: "\(path).clip", message: "bounds are not in ascending order") }
      transform.clip = low...high
    }
    transform.log1p = try reader.flag("\(path).log1p")
    transform.multiply = try reader.number("\(path).multiply")
    transform.divide = try reader.number("\(path).divide")
    transform.mean = try reader.number("\(path).standardize.mean")
    transform.deviation = try reader.number("\(path).standardize.deviation")
    for _ in 0..<(try reader.count("\(path).buckets", max: bucketsMax)) {
      transform.buckets.append(try reader.number("\(path).buckets"))
    }
    return Feature(name: name, kind: kind, lowercase: lowercase, valuesMax: valuesMax, transform: transform)
  }
}

struct CanonicalWriter {
  var bytes: [UInt8] = []

  mutating func integer<Value: FixedWidthInteger>(_ value: Value) {
    withUnsafeBytes(of: value.littleEndian) { bytes += $0 }
  }
  /// A negative zero is written as zero: equal values have equal bytes.
  mutating func number(_ value: Double) { integer((value == 0 ? 0 : value).bitPattern) }
  mutating func flag(_ value: Bool) { bytes.append(value ? 1 : 0) }
  mutating func text(_ value: String) {
    integer(UInt32(truncatingIfNeeded: value.utf8.count))
    bytes += value.utf8
  }
}

struct CanonicalReader {
  let bytes: [UInt8]
  var position = 0

  init(bytes: [UInt8]) { self.bytes = bytes }

  private mutating func take(_ count: Int, _ path: String) throws(SpecificationProblem) -> ArraySlice<UInt8> {
    guard count >= 0, count <= bytes.count - position else {
      throw SpecificationProblem(path: path, message: "the specification ends inside this field")
    }
    defer { position += count }
    return bytes[position..<position + count]
  }

  mutating func integer<Value: FixedWidthInteger>(_ path: String) throws(SpecificationProblem) -> Value {
    var value: Value = 0
    for (index, byte) in try take(Value.bitWidth / 8, path).enumerated() { value |= Value(truncatingIfNeeded: byte) << (8 * index) }
    return value
  }

  mutating func int(_ path: String) throws(SpecificationProblem) -> Int {
    let value: Int64 = try integer(path)
    return Int(value)
  }

  /// Finite, and no negative zero: it would make two forms of one value.
  mutating func number(_ path: String) throws(SpecificationProblem) -> Double {
    let value = Double(bitPattern: try integer(path))
    guard value.isFinite else { throw SpecificationProblem(path: path, message: "is not finite") }
    guard value != 0 || value.sign == .plus else { throw SpecificationProblem(path: path, message: "is a negative zero") }
    return value
  }

  mutating func optional(_ path: String) throws(SpecificationProblem) -> Double? { try flag(path) ? try number(path) : nil }

  mutating func flag(_ path: String) throws(SpecificationProblem) -> Bool {
    let value: UInt8 = try integer(path)
    guard value <= 1 else { throw SpecificationProblem(path: path, message: "is \(value), expected 0 or 1") }
    return value == 1
  }

  mutating func raw<Value: RawRepresentable>(_ path: String) throws(SpecificationProblem) -> Value where Value.RawValue == UInt8 {
    let value: UInt8 = try integer(path)
    guard let known = Value(rawValue: value) else {
      throw SpecificationProblem(path: path, message: "has the unknown value \(value)")
    }
    return known
  }

  mutating func count(_ path: String, max: Int) throws(SpecificationProblem) -> Int {
    let value: UInt32 = try integer(path)
    guard value <= max else { throw SpecificationProblem(path: path, message: "has \(value) items, at most \(max) are allowed") }
    return Int(value)
  }

  mutating func text(_ path: String, max: Int) throws(SpecificationProblem) -> String {
    let count = try count(path, max: max)
    guard let text = String(validating: try take(count, path), as: UTF8.self) else {
      throw SpecificationProblem(path: path, message: "is not UTF-8")
    }
    return text
  }
}
