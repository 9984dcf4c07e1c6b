// Hot: `produce` and the reports. No allocation of ours per record.
public import Kafka
public import Logging
import Model
import Synchronization
public import Telemetry

/// The one Kafka producer of all that comes by RPC: published events and labels, and the features of served requests. Any thread
/// produces; a thread of its own takes the delivery reports and hands them, many at a time, to the event loop that waits for them.
public final class EndpointProducer: @unchecked Sendable {
  private let kafka: KafkaSettings
  private let lingerMilliseconds: Double
  private let logger: Logger
  private let outstanding: Gauge
  private let recreations: Counter
  private let state = Mutex(State())
  // Set by `start`, before anybody produces.
  private nonisolated(unsafe) var producer: KafkaProducer?

  private struct State {
    var thread: OwnerThread?
    /// By port number.
    var ports: [ReportPort] = []
    var flushMilliseconds: Int32 = 0
  }

  /// - Parameter lingerMilliseconds: how long a record may wait for others to share its request to the broker.
  public init(kafka: KafkaSettings, lingerMilliseconds: Double = 0.5, registry: Registry, logger: Logger) {
    self.kafka = kafka
    self.lingerMilliseconds = lingerMilliseconds
    self.logger = logger
    outstanding = registry.gauge(
      "millrace_endpoint_producer_records", "Records that came by RPC and are with the Kafka client, reports included")
    recreations = registry.counter(
      "millrace_endpoint_producer_recreations_total", "Times that the Kafka client of what comes by RPC was replaced after a fatal error")
  }

  /// Connects; `topic` can be asked for then.
  public func start() throws {
    let producer = try KafkaProducer(kafka, lingerMilliseconds: lingerMilliseconds, logger: logger)
    let logger = logger
    producer.onEvent = { event in
      switch event {
      case .brokersUnreachable(let error):
        logger.warning("No Kafka broker answers; what comes by RPC waits", metadata: ["error": "\(error)"])
      case .error(let error), .fatal(let error): logger.warning("Kafka producer", metadata: ["error": "\(error)"])
      }
    }
    self.producer = producer
    let thread = OwnerThread(name: "endpoint") { thread in self.run(thread, producer) }
    thread.setWakeUp { producer.wakeUp() }
    try thread.start()
    state.withLock { $0.thread = thread }
  }

  /// Waits until what was taken is in the log, at most so long, reports on it, and closes. Who produces afterwards finds no room.
  public func stop(flushMilliseconds: Int32 = 5_000) {
    let (thread, ports) = state.withLock { state in
      state.flushMilliseconds = flushMilliseconds
      return (state.thread, state.ports)
    }
    for port in ports { port.gate.shut() }
    thread?.requestStop()
    thread?.join()
    for port in ports { port.detach() }
    state.withLock { $0.ports = [] }
  }

  /// Resolves a topic; waits for its metadata.
  /// - Throws: when it does not exist, or no broker answers, within ten seconds.
  func topic(_ name: String) throws -> ProducerTopic {
    guard let producer else { throw KafkaError(code: .wrongState, message: "the endpoint's producer has not been started") }
    return try producer.topic(name)
  }

  /// A place that delivery reports come to.
  func makePort() -> ReportPort {
    state.withLock { state in
      let port = ReportPort(number: state.ports.count)
      state.ports.append(port)
      return port
    }
  }

  static let idBits: UInt = 40

  /// Hands a record over; its report comes to `port` with `id` (below 2^40).
  func produce(
    _ topic: ProducerTopic, partition: Int32, key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer, headers: KafkaHeaders?,
    port: ReportPort, id: UInt
  ) -> ProduceResult {
    guard port.gate.enter() else { return .queueFull }
    defer { port.gate.leave() }
    // A client that failed is about to be replaced by the thread.
    guard let producer, !producer.needsRecreation else { return .queueFull }
    let result = producer.produce(
      topic, partition: partition, key: key, value: value, headers: headers, opaque: UInt(port.number) << Self.idBits | id)
    if case .failed(let error) = result, error.isFatal { return .queueFull }
    return result
  }

  // MARK: The thread

  private static let waitMilliseconds: Int32 = 20

  private func run(_ thread: OwnerThread, _ producer: KafkaProducer) {
    var ports: [ReportPort] = []
    func report(_ opaque: UInt, _ partition: Int32, _ offset: Int64, _ error: KafkaError?) {
      let number = Int(opaque >> Self.idBits)
      if number >= ports.count { ports = state.withLock { $0.ports } }
      guard number < ports.count else { return }
      ports[number].add(id: opaque & (1 << Self.idBits - 1), partition, offset, error)
    }
    while !thread.isStopRequested {
      producer.poll(timeoutMilliseconds: Self.waitMilliseconds, report)
      if producer.needsRecreation { recreate(producer, report) }
      outstanding.set(Double(producer.outstandingCount))
      let count = state.withLock { $0.ports.count }
      if count != ports.count { ports = state.withLock { $0.ports } }
      for port in ports { port.handOver() }
    }
    thread.setWakeUp(nil)
    producer.close(flushMilliseconds: state.withLock { $0.flushMilliseconds }, report)
    for port in ports { port.handOver() }
    self.producer = nil
  }

  /// What was outstanding is reported as not delivered: whether it is in the log is not known.
  private func recreate(_ producer: KafkaProducer, _ report: (UInt, Int32, Int64, KafkaError?) -> Void) {
    recreations.add()
    logger.error("The Kafka client of what comes by RPC failed; a new one takes its place")
    let ports = state.withLock { $0.ports }
    for port in ports { port.gate.shut() }
    defer { for port in ports { port.gate.open() } }
    do { try producer.recreate(report) } catch {
      logger.error("No new Kafka client could be made; trying again", metadata: ["error": "\(error)"])
    }
  }
}
