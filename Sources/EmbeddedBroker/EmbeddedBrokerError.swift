/// Why the broker could not start. The message says what to do where there is something to do.
public struct EmbeddedBrokerError: Error, CustomStringConvertible, Sendable {
  public let message: String

  init(_ message: String) { self.message = message }

  public var description: String { message }
}
