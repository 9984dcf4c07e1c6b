/// What a model is: everything that decides which rows an event has, what they learn and which shard owns them.
///
/// A value that came from `parse`, `read` or `init(canonicalBytes:)` is valid. One made by hand is checked by `problems()`.
public struct ModelSpecification: Sendable, Equatable {
  public enum Family: Sendable, Equatable {
    /// A weight for each row, added up; the loss decides the link.
    case linear(loss: Loss)
    /// Counts examples, to verify that each was counted once.
    case count
    /// Parameters from a file, which never learns: the features say how rows are made, the file does the rest.
    case loaded
  }

  public var name: String
  public var version: Int
  public var family: Family
  public var features: [Feature]
  public var crosses: [Cross]
  public var learning: LearningSettings
  /// Sparse shards, fixed for the model's life: row `r` belongs to shard `mix(r) mod shards`.
  public var shards: Int
  public var label: LabelSettings
  public var join: JoinSettings

  public init(
    name: String, version: Int = 1, family: Family, features: [Feature] = [], crosses: [Cross] = [],
    learning: LearningSettings = LearningSettings(), shards: Int = 1, label: LabelSettings = LabelSettings(),
    join: JoinSettings = JoinSettings()
  ) {
    self.name = name
    self.version = version
    self.family = family
    self.features = features
    self.crosses = crosses
    self.learning = learning
    self.shards = shards
    self.label = label
    self.join = join
  }

  /// `<name>.<version>`, as in topic names and messages.
  public var identifier: String { "\(name).\(version)" }

  /// The update log's topic: `<name>.<version>.updates`.
  public var updatesTopic: String { "\(identifier).updates" }

  /// The hash of the canonical bytes, carried by every record of the update log.
  public var hash: UInt64 { canonicalBytes.withUnsafeBytes { hash64($0, seed: Self.hashSeed) } }

  static let hashSeed: UInt64 = 0x7370_6563  // "spec": never changes

  /// Nil for families other than linear.
  public var loss: Loss? { if case .linear(let loss) = family { loss } else { nil } }

  /// Turns the sum of a row over all shards into its score.
  public func finish(sum: Float) -> Float {
    switch family {
    case .linear(let loss): loss.score(sum: sum)
    case .count, .loaded: sum
    }
  }

  /// What a raw label means to the model; nil when it is outside of what the model takes.
  public func label(raw: Double) -> Double? {
    guard raw.isFinite, labelRange.contains(raw) else { return nil }
    if let above = label.above { return raw > above ? 1 : 0 }
    return raw
  }

  /// The raw labels that the model takes.
  public var labelRange: ClosedRange<Double> {
    let finite = -Double.greatestFiniteMagnitude...Double.greatestFiniteMagnitude
    let natural = label.above == nil ? loss?.labels ?? finite : finite
    let low = max(natural.lowerBound, label.minimum ?? natural.lowerBound)
    return low...max(low, min(natural.upperBound, label.maximum ?? natural.upperBound))
  }

  /// Entries that one event can have at most, the bias included.
  public var entriesPerRowMax: Int {
    guard family != .count else { return 1 }
    var total = 1
    for feature in features where feature.tensor == nil { total = total.addingClamped(max(1, feature.valuesMax)) }
    for cross in crosses { total = total.addingClamped(combinationsMax(cross)) }
    return total
  }

  /// Bytes of a dense row, whole for the largest element in it; 0 when no feature stands in one.
  public var denseRowBytes: Int {
    var end = 0
    var alignment = 1
    for case let place? in features.map(\.tensor) {
      end = max(end, place.end)
      alignment = max(alignment, place.element.bytes)
    }
    return end.addingClamped(alignment - 1) / alignment * alignment
  }

  /// Combinations of values that one event can have in `cross` at most.
  func combinationsMax(_ cross: Cross) -> Int {
    var product = 1
    for name in cross.features {
      let values = features.first { $0.name == name }?.valuesMax ?? 1
      let (next, overflow) = product.multipliedReportingOverflow(by: max(1, values))
      product = overflow ? .max : next
    }
    return product
  }
}

extension Int {
  func addingClamped(_ other: Int) -> Int {
    let (sum, overflow) = addingReportingOverflow(other)
    return overflow ? .max : sum
  }
}
