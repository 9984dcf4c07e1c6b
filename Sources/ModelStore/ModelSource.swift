/// Where a model's bundles are, and which of them are served.
public struct ModelSource: Sendable, Equatable {
  /// Which versions of a folder are loaded. Versions with a label always are.
  public enum Versions: Sendable, Equatable {
    case all
    /// The `count` highest ones that can be loaded.
    case latest(Int)
    case specific([Int])
  }

  /// Where embedding tables live.
  public enum Tables: Sendable, Equatable {
    /// Copied into huge pages. With a spare, the memory of a version that went is kept for the one that comes.
    case hugePages(keepsSpare: Bool)
    /// In the file's mapping.
    case mapped
  }

  public static let labelsMax = 16
  public static let versionsMax = 64

  /// A bundle, or a folder of bundles named by their version: `1.millrace`, `2.millrace`.
  public var path: String
  /// What requests call the model; nil: the name in the bundle.
  public var name: String?
  public var versions: Versions
  /// Names of versions, for requests: "stable", "canary". They stand before what bundles say of themselves.
  public var labels: [String: Int]
  /// Rows of one request at most; nil: what the bundle says.
  public var maxBatchSize: Int?
  /// How often the files are looked at; nil: only when a load is asked for.
  public var reloadMilliseconds: Int?
  /// Whether a new version scores recent rows before it is served.
  public var warms: Bool
  public var tables: Tables

  public init(
    path: String, name: String? = nil, versions: Versions = .latest(1), labels: [String: Int] = [:], maxBatchSize: Int? = nil,
    reloadMilliseconds: Int? = 1000, warms: Bool = true, tables: Tables = .hugePages(keepsSpare: true)
  ) {
    self.path = path
    self.name = name
    self.versions = versions
    self.labels = labels
    self.maxBatchSize = maxBatchSize
    self.reloadMilliseconds = reloadMilliseconds
    self.warms = warms
    self.tables = tables
  }

  /// What the model is called before its bundle could be read.
  public var provisionalName: String {
    if let name { return name }
    let last = path.split(separator: "/").last.map(String.init) ?? path
    return last.hasSuffix(ModelFolder.suffix) ? String(last.dropLast(ModelFolder.suffix.count)) : last
  }
}
