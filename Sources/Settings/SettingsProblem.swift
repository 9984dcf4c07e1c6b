/// One thing that is wrong in a settings file: where it stands, what it is called, and what to do.
public struct SettingsProblem: Sendable, Equatable, CustomStringConvertible {
  public let file: String
  /// Starts at 1; 0 when the position is not known.
  public let line: Int
  /// Starts at 1; 0 when the position is not known.
  public let column: Int
  /// The keys and indices that lead to the value, as `models[0].learning.alpha`; empty for the whole file.
  public let path: String
  /// What is wrong and what was expected.
  public let message: String

  public init(file: String, line: Int, column: Int, path: String, message: String) {
    self.file = file
    self.line = line
    self.column = column
    self.path = path
    self.message = message
  }

  /// `file:line:column: path: message`, the form that editors and terminals turn into a link.
  public var description: String {
    let place = line > 0 ? "\(file):\(line):\(column)" : file
    return path.isEmpty ? "\(place): \(message)" : "\(place): \(path): \(message)"
  }
}

/// Everything that is wrong in the settings that were read, in the order of the file.
public struct SettingsErrors: Error, Sendable, Equatable, CustomStringConvertible {
  public let problems: [SettingsProblem]

  public init(_ problems: [SettingsProblem]) { self.problems = problems }

  /// One problem on each line.
  public var description: String { problems.map(\.description).joined(separator: "\n") }
}
