import Logging

@testable import EmbeddedBroker

/// Runs `body` against a broker of its own in this process.
@discardableResult
func withBroker<T>(
  directory: TemporaryDirectory? = nil, _ configure: (inout BrokerSettings) -> Void = { _ in }, _ body: (Int) async throws -> T
) async throws -> T {
  let directory = try directory ?? TemporaryDirectory()
  defer { withExtendedLifetime(directory) {} }
  var settings = BrokerSettings(dataDirectory: directory.path)
  configure(&settings)
  let broker = EmbeddedBroker(settings: settings, logger: Logger(label: "broker", factory: { _ in SwiftLogNoOpLogHandler() }))
  let port = try await broker.start()
  do {
    let value = try await body(port)
    await broker.stop()
    return value
  } catch {
    await broker.stop()
    throw error
  }
}
