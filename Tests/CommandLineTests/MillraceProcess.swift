import Foundation

/// The built `millrace` binary as a child process: what a user's shell would start.
final class MillraceProcess: @unchecked Sendable {
  struct Failure: Error, CustomStringConvertible { let description: String }

  /// What a finished command left behind.
  struct Result {
    var status: Int32
    var output: String
    var errors: String
  }

  /// The package's folder, from this file's place in it.
  static let packageFolder = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  /// The binary beside the test bundle; `MILLRACE_BINARY` names another one, such as a release build.
  static let binary: URL = {
    if let path = ProcessInfo.processInfo.environment["MILLRACE_BINARY"] { return URL(fileURLWithPath: path) }
    let besideTests = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
      .appendingPathComponent("millrace")
    if FileManager.default.isExecutableFile(atPath: besideTests.path) { return besideTests }
    return packageFolder.appendingPathComponent(".build/debug/millrace")
  }()

  private let process = Process()
  private let log: URL

  var processIdentifier: Int32 { process.processIdentifier }
  var isRunning: Bool { process.isRunning }

  /// Starts the binary and leaves it running; its output goes to a file that failures quote.
  init(_ arguments: [String], log: URL, folder: URL) throws {
    self.log = log
    if !FileManager.default.fileExists(atPath: log.path) {
      try Data().write(to: log)
    }
    let handle = try FileHandle(forWritingTo: log)
    try handle.seekToEnd()
    process.executableURL = Self.binary
    process.arguments = arguments
    process.currentDirectoryURL = folder
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = handle
    process.standardError = handle
    try process.run()
  }

  deinit { kill() }

  /// The last lines that the process wrote.
  var tail: String {
    let text = (try? String(contentsOf: log, encoding: .utf8)) ?? ""
    return text.split(separator: "\n").suffix(80).joined(separator: "\n")
  }

  /// No warning, no chance to tidy up.
  func kill() {
    guard process.isRunning else { return }
    Foundation.kill(process.processIdentifier, SIGKILL)
    process.waitUntilExit()
  }

  /// Asks it to stop and waits.
  /// - Returns: the exit status.
  @discardableResult
  func terminate() -> Int32 {
    if process.isRunning { Foundation.kill(process.processIdentifier, SIGTERM) }
    process.waitUntilExit()
    return process.terminationStatus
  }

  /// Runs a command to its end. A command still running after `seconds` is killed and that is an error.
  /// - Parameter environment: variables besides those of the tests.
  static func run(
    _ arguments: [String], input: String? = nil, folder: URL? = nil, environment: [String: String] = [:], seconds: Double = 120
  ) throws -> Result {
    let process = Process()
    process.executableURL = binary
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    if let folder { process.currentDirectoryURL = folder }
    let scratch = FileManager.default.temporaryDirectory.appendingPathComponent("millrace-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: scratch, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: scratch) }
    func file(_ name: String, _ text: String = "") throws -> FileHandle {
      let url = scratch.appendingPathComponent(name)
      try Data(text.utf8).write(to: url)
      return try FileHandle(forUpdating: url)
    }
    process.standardInput = try file("in", input ?? "")
    process.standardOutput = try file("out")
    process.standardError = try file("err")
    let ended = DispatchSemaphore(value: 0)
    process.terminationHandler = { _ in ended.signal() }
    try process.run()
    if ended.wait(timeout: .now() + seconds) == .timedOut {
      Foundation.kill(process.processIdentifier, SIGKILL)
      throw Failure(description: "millrace \(arguments.joined(separator: " ")) did not end in \(seconds) s")
    }
    func text(_ name: String) throws -> String {
      try String(contentsOf: scratch.appendingPathComponent(name), encoding: .utf8)
    }
    return Result(status: process.terminationStatus, output: try text("out"), errors: try text("err"))
  }
}

/// A folder of one test, removed with it.
final class ScratchFolder {
  let url: URL

  init() throws {
    url = FileManager.default.temporaryDirectory.appendingPathComponent("millrace-test-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: url) }

  func write(_ name: String, _ text: String) throws -> URL {
    let file = url.appendingPathComponent(name)
    try Data(text.utf8).write(to: file)
    return file
  }
}

/// A port that was free a moment ago.
func freePort() throws -> Int {
  let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
  guard socket >= 0 else { throw MillraceProcess.Failure(description: "no socket") }
  defer { close(socket) }
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
  var length = socklen_t(MemoryLayout<sockaddr_in>.size)
  let bound = withUnsafeMutablePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      bind(socket, $0, length) == 0 && getsockname(socket, $0, &length) == 0
    }
  }
  guard bound else { throw MillraceProcess.Failure(description: "no free port") }
  return Int(UInt16(bigEndian: address.sin_port))
}

/// Asks until `condition` holds, at most `seconds` long.
func eventually(_ what: String, seconds: Double = 60, _ condition: () throws -> Bool) throws {
  let deadline = Date().addingTimeInterval(seconds)
  while try !condition() {
    guard Date() < deadline else { throw MillraceProcess.Failure(description: "not within \(seconds) s: \(what)") }
    usleep(20_000)
  }
}

/// A socket connected to a port on loopback, whose reads give up after five seconds; nil when nobody listens. The caller closes it.
func connection(port: Int) -> Int32? {
  let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
  guard socket >= 0 else { return nil }
  var limit = timeval(tv_sec: 5, tv_usec: 0)
  setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_port = UInt16(port).bigEndian
  address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
  let connected = withUnsafePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
    }
  }
  guard connected else {
    close(socket)
    return nil
  }
  return socket
}

/// Sends all of a text.
func send(_ text: String, to socket: Int32) -> Bool {
  text.utf8.withContiguousStorageIfAvailable { Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) == $0.count } == true
}

/// One GET by HTTP/1.1 on loopback.
/// - Returns: status and body, or nil when nobody answers.
func get(_ path: String, port: Int) -> (status: Int, body: String)? {
  guard let socket = connection(port: port) else { return nil }
  defer { close(socket) }
  let request = "GET \(path) HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nConnection: close\r\n\r\n"
  guard send(request, to: socket) else { return nil }
  var answer: [UInt8] = []
  var buffer = [UInt8](repeating: 0, count: 65_536)
  while true {
    let count = recv(socket, &buffer, buffer.count, 0)
    guard count > 0 else { break }
    answer += buffer[0..<count]
  }
  let text = String(decoding: answer, as: UTF8.self)
  guard let status = text.split(separator: " ").dropFirst().first.flatMap({ Int($0) }),
    let split = text.range(of: "\r\n\r\n")
  else { return nil }
  return (status, String(text[split.upperBound...]))
}
