import Logging
import NIOCore
final class GroupCoordinator {
  init(settings: BrokerSettings, loop: any EventLoop, logger: Logger) throws {}
  func close() {}
  func connectionClosed(_ connection: ConnectionHandler) {}
  func topicDeleted(_ name: String) {}
}
