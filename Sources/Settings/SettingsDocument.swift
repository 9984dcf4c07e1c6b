internal import Foundation
internal import Yams

/// Turns YAML text into nodes with positions.
public enum SettingsDocument {
  public static let bytesMax = 4 << 20
  /// Aliases count as often as they are used, so that a small file cannot become a huge tree.
  public static let nodesMax = 100_000
  public static let depthMax = 64

  /// Reads the file at `path`.
  public static func load(path: String) throws(SettingsErrors) -> SettingsNode {
    let data: Data
    do {
      data = try Data(contentsOf: URL(fileURLWithPath: path))
    } catch {
      let reason = FileManager.default.fileExists(atPath: path) ? "cannot be read: \(error.localizedDescription)" : "there is no such file"
      throw SettingsErrors([SettingsProblem(file: path, line: 0, column: 0, path: "", message: reason)])
    }
    guard let text = String(data: data, encoding: .utf8) else {
      throw SettingsErrors([SettingsProblem(file: path, line: 0, column: 0, path: "", message: "is not UTF-8 text")])
    }
    return try parse(yaml: text, file: path)
  }

  /// Parses `yaml`; `file` only names it in messages. An empty document is an empty map.
  public static func parse(yaml: String, file: String) throws(SettingsErrors) -> SettingsNode {
    guard yaml.utf8.count <= bytesMax else {
      throw failure(file, nil, "is \(yaml.utf8.count) bytes long, settings have at most \(bytesMax)")
    }
    let root: Node?
    do {
      root = try compose(yaml: yaml)
    } catch let error as YamlError {
      throw failure(file, error)
    } catch {
      throw failure(file, nil, "is not YAML: \(error)")
    }
    guard let root else { return .emptyMap(file: file) }
    var conversion = Conversion(file: file)
    let node = conversion.node(root, path: "", depth: 0)
    if let problem = conversion.problem { throw SettingsErrors([problem]) }
    return node.isEmpty ? .emptyMap(file: file) : node
  }

  private static func failure(_ file: String, _ mark: Mark?, _ message: String) -> SettingsErrors {
    SettingsErrors([
      SettingsProblem(file: file, line: mark?.line ?? 0, column: mark?.column ?? 0, path: "", message: message)
    ])
  }

  private static func failure(_ file: String, _ error: YamlError) -> SettingsErrors {
    switch error {
    case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
      .composer(let context, let problem, let mark, _):
      let about = context.map { " (\($0.text) that starts in line \($0.mark.line))" } ?? ""
      return failure(file, mark, "is not YAML here: \(problem)\(about)")
    case .duplicatedKeysInMapping(let duplicates, let context):
      let names = duplicates.map { "\"\($0)\"" }.joined(separator: ", ")
      return failure(file, context.mark, "the key \(names) is given twice in one map: keep one")
    case .reader(let problem, _, _, _):
      return failure(file, nil, "is not YAML: \(problem)")
    default:
      return failure(file, nil, "is not YAML: \(error)")
    }
  }

  private struct Conversion {
    let file: String
    var count = 0
    var problem: SettingsProblem?

    mutating func node(_ node: Node, path: String, depth: Int) -> SettingsNode {
      let line = node.mark?.line ?? 0
      let column = node.mark?.column ?? 0
      func made(_ content: SettingsNode.Content) -> SettingsNode {
        SettingsNode(file: file, line: line, column: column, path: path, content: content)
      }
      count += 1
      if problem != nil { return made(.empty) }
      guard count <= nodesMax, depth <= depthMax else {
        problem = SettingsProblem(
          file: file, line: line, column: column, path: "",
          message: count > nodesMax
            ? "has more than \(nodesMax) values (aliases count each time)" : "is nested more than \(depthMax) deep")
        return made(.empty)
      }
      switch node {
      case .scalar(let scalar):
        let isPlain = scalar.style == .plain || scalar.style == .any
        if isPlain, ["", "~", "null", "Null", "NULL"].contains(scalar.string) { return made(.empty) }
        return made(.scalar(scalar.string, isQuoted: !isPlain))
      case .sequence(let sequence):
        var items: [SettingsNode] = []
        for (index, item) in sequence.enumerated() where problem == nil {
          items.append(self.node(item, path: "\(path)[\(index)]", depth: depth + 1))
        }
        return made(.list(items))
      case .mapping(let mapping):
        var entries: [SettingsNode.Entry] = []
        for (key, value) in mapping where problem == nil {
          guard case .scalar(let name) = key else {
            problem = SettingsProblem(
              file: file, line: key.mark?.line ?? line, column: key.mark?.column ?? column, path: path,
              message: "a key is a list or a map: keys are plain text")
            break
          }
          let child = self.node(value, path: path.isEmpty ? name.string : "\(path).\(name.string)", depth: depth + 1)
          entries.append(.init(key: name.string, line: name.mark?.line ?? line, column: name.mark?.column ?? column, value: child))
        }
        return made(.map(entries))
      case .alias:
        return made(.empty)
      }
    }
  }
}
