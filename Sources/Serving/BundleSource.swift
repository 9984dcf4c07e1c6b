public import ModelStore

/// Where a stream predictor finds the current version of a model from bundles.
public struct BundleSource: Sendable {
  /// The arm that predictions of such models carry: they have one way of answering at a time.
  public static let armName = "bundle"

  /// What answers now; nil: nothing is loaded.
  public let current: @Sendable () -> LoadedVersion?
  /// Changes when `current` may have.
  public let generation: @Sendable () -> Int

  public init(current: @escaping @Sendable () -> LoadedVersion?, generation: @escaping @Sendable () -> Int) {
    self.current = current
    self.generation = generation
  }

  /// The model of source `source` of `store`: the version labelled `stable`, or the newest.
  public init(_ store: ModelStore, source: Int) {
    self.init(
      current: { store.snapshot().models.first { $0.source == source }?.normalVersion }, generation: { store.generation })
  }
}
