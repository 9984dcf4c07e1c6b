@testable import EmbeddedBroker

/// A directory of its own for a test, removed with it.
final class TemporaryDirectory: Sendable {
  let path: String

  init() throws {
    path = "/tmp/millrace-broker-test-\(UInt64.random(in: .min ... .max))"
    try LogFile.makeDirectories(path)
  }

  deinit { try? LogFile.removeTree(path) }
}
