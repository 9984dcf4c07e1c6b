internal import Settings

extension InstanceSettings {
  /// A model that comes from bundles.
  public struct BundleSettings: Sendable, Equatable {
    public enum Versions: Sendable, Equatable {
      case all
      /// The highest ones.
      case latest(Int)
      case specific([Int])
    }

    /// A bundle, or a folder of bundles named by their version.
    public var path: String
    /// Nil: the name in the bundle.
    public var name: String?
    public var versions = Versions.latest(1)
    public var labels: [String: Int] = [:]
    /// Nil: what the bundle says.
    public var maxBatchSize: Int?
    /// How often the files are looked at; nil: never.
    public var reloadMilliseconds: Int? = 1000
    public var warms = true
    /// Whether embedding tables stay in the file's mapping, or are copied into huge pages.
    public var mapsTables = false
    /// Whether the memory of a replaced version's tables is kept for the next one's.
    public var keepsSpareMemory = true
    /// Whether the model answers the features topic, too.
    public var streams = true

    public init(path: String) { self.path = path }

    public static let versionsMax = 64
    public static let labelsMax = 16
    public static let maxBatchSizeMax = 1 << 20
  }
}

extension InstanceSettingsReading {
  /// A map with the key `bundle`.
  mutating func bundle(_ item: SettingsNode) -> InstanceSettings.BundleSettings? {
    let problemsBefore = reader.problems.count
    check(item, "models[]")
    guard let path = item.child("bundle").flatMap({ reader.string($0) }) else { return nil }
    if path.isEmpty { reader.problem(item, "bundle", "is empty: expected the path of a bundle, or of a folder of bundles") }
    var bundle = InstanceSettings.BundleSettings(path: beside(item, path))
    if let name = item.child("name").flatMap({ reader.string($0) }) {
      if !isName(name, dots: true) { reader.problem(item, "name", "expected letters, digits, '_', '-' and '.', found \"\(name)\"") }
      bundle.name = name
    }
    if let node = item.child("versions") { bundle.versions = versions(node) ?? bundle.versions }
    if let labels = reader.map(item, "labels") {
      if labels.entries.count > InstanceSettings.BundleSettings.labelsMax {
        reader.problem(labels, "are \(labels.entries.count), at most \(InstanceSettings.BundleSettings.labelsMax) are taken")
      }
      for entry in labels.entries {
        // A number would be taken for a version.
        if !isName(entry.key) || Int(entry.key) != nil {
          reader.problem(entry.value, "a label has letters, digits, '_' and '-', and is no number; found \"\(entry.key)\"")
        }
        if let version = reader.int(entry.value, in: 1...Int(Int32.max)) { bundle.labels[entry.key] = version }
      }
    }
    bundle.maxBatchSize = item.child("max_batch_size").flatMap {
      reader.int($0, in: 1...InstanceSettings.BundleSettings.maxBatchSizeMax)
    }
    if let node = item.child("reload"), let text = reader.string(node) {
      bundle.reloadMilliseconds = ["off", "no", "false", "never"].contains(text.lowercased()) ? nil : reader.milliseconds(node, in: 10...86_400_000)
    }
    bundle.warms = reader.bool(item, "warmup", default: bundle.warms)
    if let node = item.child("tables"), let text = reader.string(node) {
      switch text {
      case "huge_pages": bundle.mapsTables = false
      case "mapped": bundle.mapsTables = true
      default: reader.problem(node, "expected huge_pages or mapped, found \"\(text)\"")
      }
    }
    bundle.keepsSpareMemory = reader.bool(item, "spare_memory", default: bundle.keepsSpareMemory)
    bundle.streams = reader.bool(item, "stream", default: bundle.streams)
    return reader.problems.count == problemsBefore ? bundle : nil
  }

  private mutating func versions(_ node: SettingsNode) -> InstanceSettings.BundleSettings.Versions? {
    let expected = "expected all, {latest: 2}, or a list of versions, as [3, 4]"
    if node.isList {
      guard (1...InstanceSettings.BundleSettings.versionsMax).contains(node.items.count) else {
        reader.problem(node, "expected 1 to \(InstanceSettings.BundleSettings.versionsMax) versions, found \(node.items.count)")
        return nil
      }
      return .specific(node.items.compactMap { reader.int($0, in: 1...Int(Int32.max)) })
    }
    if node.isMap {
      guard reader.keys(node, ["latest"]), let latest = node.child("latest") else {
        if node.child("latest") == nil { reader.problem(node, expected) }
        return nil
      }
      return reader.int(latest, in: 1...InstanceSettings.BundleSettings.versionsMax).map { .latest($0) }
    }
    guard reader.string(node) == "all" else {
      reader.problem(node, expected)
      return nil
    }
    return .all
  }
}
