public import Foundation
import Synchronization

/// A process that a test starts and always ends, with what it printed.
public final class ChildProcess: Sendable {
  public struct Failure: Error, CustomStringConvertible {
    public let description: String

    public init(description: String) { self.description = description }
  }

  public let identifier: Int32
  private let process: LockedProcess
  private let output = Output()

  /// Held by the reading thread too, which must not keep the process from being ended with its owner.
  private final class Output: Sendable {
    let printed = Mutex(Data())
    let isDrained = Mutex(false)
  }

  private final class LockedProcess: @unchecked Sendable {
    let process = Process()
  }

  public init(_ executable: String, _ arguments: [String], input: FileHandle? = nil) throws {
    process = LockedProcess()
    process.process.executableURL = URL(fileURLWithPath: executable)
    process.process.arguments = arguments
    let pipe = Pipe()
    process.process.standardOutput = pipe
    process.process.standardError = pipe
    process.process.standardInput = input ?? FileHandle.nullDevice
    try process.process.run()
    identifier = process.process.processIdentifier
    let descriptor = pipe.fileHandleForReading.fileDescriptor
    // A thread that reads to the end: the process never stands still because nobody reads it.
    Thread.detachNewThread { [output] in
      var bytes = [UInt8](repeating: 0, count: 65_536)
      while true {
        let count = read(descriptor, &bytes, bytes.count)
        if count <= 0 { break }
        output.printed.withLock { $0.append(contentsOf: bytes[..<count]) }
      }
      output.isDrained.withLock { $0 = true }
      withExtendedLifetime(pipe) {}
    }
  }

  deinit { kill() }

  public var text: String { output.printed.withLock { String(decoding: $0, as: UTF8.self) } }
  public var isRunning: Bool { process.process.isRunning }

  public func kill() { signal(SIGKILL) }

  public func signal(_ number: Int32) {
    if process.process.isRunning { Foundation.kill(identifier, number) }
    if number == SIGKILL { process.process.waitUntilExit() }
  }

  /// The exit status; kills it when it takes longer than `seconds`.
  public func wait(seconds: Double = 120) async throws -> Int32 {
    try await until("process \(identifier) has ended", seconds: seconds) { !self.isRunning }
    // What it printed last may still be in the pipe.
    try await until("its output is read", seconds: 60) { self.output.isDrained.withLock { $0 } }
    return process.process.terminationStatus
  }

  /// Waits until the condition holds.
  public func until(_ what: String, seconds: Double = 60, _ condition: () -> Bool) async throws {
    let deadline = ContinuousClock.now.advanced(by: .seconds(seconds))
    while !condition() {
      if ContinuousClock.now > deadline {
        kill()
        throw Failure(description: "not within \(seconds) s: \(what). Output:\n\(text)")
      }
      try await Task.sleep(for: .milliseconds(5))
    }
  }

  /// Runs a program to its end; what it printed. Throws when it fails.
  @discardableResult
  public static func run(_ executable: String, _ arguments: [String], input: FileHandle? = nil) async throws -> String {
    let child = try ChildProcess(executable, arguments, input: input)
    let status = try await child.wait()
    guard status == 0 else { throw Failure(description: "\(executable) \(arguments) ended with \(status):\n\(child.text)") }
    return child.text
  }

  /// A Python that has other people's clients: `MILLRACE_PYTHON`, or the environment that `make test` makes beside the build.
  public static let python: String? = {
    if let given = ProcessInfo.processInfo.environment["MILLRACE_PYTHON"] { return given }
    let tests = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
    var directory = URL(fileURLWithPath: tests)
    for _ in 0..<6 {
      directory.deleteLastPathComponent()
      let candidate = directory.appendingPathComponent("venv/bin/python").path
      if FileManager.default.isExecutableFile(atPath: candidate) { return candidate }
    }
    return nil
  }()
}
