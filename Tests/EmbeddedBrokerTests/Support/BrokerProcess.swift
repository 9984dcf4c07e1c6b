import ChildProcesses
import Foundation

/// `millrace broker` in a process of its own, to be killed.
struct BrokerProcess {
  let child: ChildProcess
  let port: Int

  /// `millrace`, built beside the tests.
  static var executable: String {
    let tests = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
    return URL(fileURLWithPath: tests).deletingLastPathComponent().appendingPathComponent("millrace").path
  }

  /// `limits` is shell text run before the broker, in its process.
  static func start(data: String, limits: String? = nil, _ more: [String] = []) async throws -> BrokerProcess {
    let arguments = ["broker", "--listen", "127.0.0.1:0", "--data", data] + more
    let child: ChildProcess
    if let limits {
      let command = limits + "; exec " + ([executable] + arguments).map { "'\($0)'" }.joined(separator: " ")
      child = try ChildProcess("/bin/bash", ["-c", command])
    } else {
      child = try ChildProcess(executable, arguments)
    }
    func port() -> Int? {
      guard let line = child.text.split(separator: "\n").first(where: { $0.hasPrefix("listening on ") }) else { return nil }
      return line.split(separator: ":").last.flatMap { Int($0) }
    }
    try await child.until("the broker listens") { port() != nil || !child.isRunning }
    guard let port = port() else { throw ChildProcess.Failure(description: "the broker did not start:\n\(child.text)") }
    return BrokerProcess(child: child, port: port)
  }
}

/// Programs that tests need and machines may lack.
enum Tool {
  static let kcat = ["/usr/bin/kcat", "/usr/local/bin/kcat"].first { FileManager.default.isExecutableFile(atPath: $0) }

  static let python = ChildProcess.python

  /// A script beside the tests.
  static func script(_ name: String) -> String {
    URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("Clients/\(name)").path
  }
}
