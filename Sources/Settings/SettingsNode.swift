/// A value of a settings file that knows where it stands.
public struct SettingsNode: Sendable, Equatable {
  public enum Content: Sendable, Equatable {
    /// A key without a value, `~` or `null`.
    case empty
    /// `isQuoted` tells `"5"` from `5`.
    case scalar(String, isQuoted: Bool)
    case list([SettingsNode])
    /// Pairs in the order of the file; keys are unique.
    case map([Entry])
  }

  /// One `key: value` of a map.
  public struct Entry: Sendable, Equatable {
    public let key: String
    public let line: Int
    public let column: Int
    public let value: SettingsNode

    public init(key: String, line: Int, column: Int, value: SettingsNode) {
      self.key = key
      self.line = line
      self.column = column
      self.value = value
    }
  }

  public let file: String
  /// Starts at 1.
  public let line: Int
  /// Starts at 1.
  public let column: Int
  /// As `models[0].learning.alpha`; empty for the whole file.
  public let path: String
  public let content: Content

  public init(file: String, line: Int, column: Int, path: String, content: Content) {
    self.file = file
    self.line = line
    self.column = column
    self.path = path
    self.content = content
  }

  /// A map without entries, for reading a file or section that is absent with nothing but defaults.
  public static func emptyMap(file: String, path: String = "") -> SettingsNode {
    SettingsNode(file: file, line: 0, column: 0, path: path, content: .map([]))
  }

  /// The entries of a map; none for anything else.
  public var entries: [Entry] {
    if case .map(let entries) = content { return entries }
    return []
  }

  /// The items of a list; none for anything else.
  public var items: [SettingsNode] {
    if case .list(let items) = content { return items }
    return []
  }

  public var isMap: Bool { if case .map = content { true } else { false } }
  public var isList: Bool { if case .list = content { true } else { false } }
  public var isEmpty: Bool { if case .empty = content { true } else { false } }

  /// The value of `key`; nil when this is no map, has no such key, or the key has no value.
  public func child(_ key: String) -> SettingsNode? {
    guard let value = entries.first(where: { $0.key == key })?.value, !value.isEmpty else { return nil }
    return value
  }

  /// Whether the map has `key`, with or without a value.
  public func has(_ key: String) -> Bool { entries.contains { $0.key == key } }

  /// What this is, in words for a message.
  public var kind: String {
    switch content {
    case .empty: "no value"
    case .scalar(let text, let isQuoted): isQuoted ? "the text \"\(text.clipped)\"" : "\"\(text.clipped)\""
    case .list: "a list"
    case .map: "a map"
    }
  }

  /// The path of `key` below this node.
  public func path(of key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }
}

extension String {
  /// At most 60 characters, so that a message stays a line.
  var clipped: String { count <= 60 ? self : prefix(57) + "..." }
}
