/// What a store holds at one moment. Never changes.
public struct StoreSnapshot: Sendable {
  /// A version that is not served, or cannot be.
  public struct Absent: Sendable, Equatable {
    /// 0: not known, as the file could not be read.
    public var version: Int
    public var reason: String
  }

  public struct Model: Sendable {
    public var name: String
    /// Of its source among the store's.
    public var source: Int
    /// Newest first.
    public var versions: [LoadedVersion]
    /// Versions that are loaded, by their labels.
    public var labels: [String: Int]
    /// What was tried last and could not be loaded.
    public var absent: [Absent]
    /// Taken off by `unload`.
    public var isUnloaded: Bool

    /// What a request means that names no version: the one labelled `stable`, or the newest.
    public var normalVersion: LoadedVersion? {
      if let stable = labels["stable"], let version = versions.first(where: { $0.version == stable }) { return version }
      return versions.first
    }
  }

  /// In the order of the store's sources.
  public var models: [Model] = []

  public init() {}
}
