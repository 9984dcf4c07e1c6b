// Hot: dispatch, wake-ups and fetch deadlines run per request. The steady state allocates replies' buffers and strings of
// names only.
import Logging
import NIOCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// The broker's state and what requests do to it. Everything here runs on one event loop, which is the lock.
final class Broker: @unchecked Sendable {
  let settings: BrokerSettings
  let logger: Logger
  let loop: any EventLoop
  let catalog: TopicCatalog
  let groups: GroupCoordinator
  let producerIDs: ProducerIDs
  let clusterID: String
  let nodeID: Int32 = 1
  /// The port listened on; set when listening.
  var port = 0

  private var connections: [ObjectIdentifier: ConnectionHandler] = [:]
  /// Fetches that wait for data, in no order.
  private var waits: [FetchWait] = []
  /// Fetches whose data came in this burst.
  private var ready: [FetchWait] = []
  private var isWaking = false
  private var deadlineTask: Scheduled<Void>?
  private var deadlineTaskNanoseconds = UInt64.max
  private var upkeep: [RepeatedTask] = []

  init(settings: BrokerSettings, clusterID: String, loop: any EventLoop, logger: Logger) throws {
    self.settings = settings
    self.logger = logger
    self.loop = loop
    self.clusterID = clusterID
    catalog = TopicCatalog(settings: settings, logger: logger)
    try catalog.load(now: Self.wallMilliseconds())
    producerIDs = try ProducerIDs(directory: settings.dataDirectory)
    groups = try GroupCoordinator(settings: settings, loop: loop, logger: logger)
  }

  static func wallMilliseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
  }

  // MARK: Life

  func startUpkeep() {
    let retention = TimeAmount.milliseconds(Int64(settings.retentionCheckMilliseconds))
    upkeep.append(
      loop.scheduleRepeatedTask(initialDelay: retention, delay: retention) { [weak self] _ in
        self?.catalog.applyRetention(now: Self.wallMilliseconds())
      })
    if case .interval(let milliseconds) = settings.flush {
      let interval = TimeAmount.milliseconds(Int64(milliseconds))
      upkeep.append(
        loop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { [weak self] _ in
          self?.catalog.synchronize()
        })
    }
  }

  /// Closes connections and saves what makes the next start quick.
  func shutDown() {
    for task in upkeep { task.cancel() }
    upkeep = []
    deadlineTask?.cancel()
    for connection in connections.values { connection.context?.close(promise: nil) }
    groups.close()
    if settings.flush != .never { catalog.synchronize() }
    catalog.close()
  }

  /// Whether the connection may stay.
  func opened(_ connection: ConnectionHandler) -> Bool {
    guard connections.count < settings.connectionsMax else { return false }
    connections[ObjectIdentifier(connection)] = connection
    return true
  }

  func closed(_ connection: ConnectionHandler) {
    connections[ObjectIdentifier(connection)] = nil
    if connection.fetch.isWaiting { endWait(connection.fetch) }
    groups.connectionClosed(connection)
  }

  // MARK: Requests

  /// Handles one request. `frame` is borrowed.
  func handle(_ frame: UnsafeRawBufferPointer, from connection: ConnectionHandler) {
    var reader = WireReader(frame)
    do throws(WireError) {
      let prefix = try RequestPrefix(&reader)
      guard let key = APIKey(rawValue: prefix.rawKey) else {
        return connection.close("request kind \(prefix.rawKey) is not known, and has no form of error that could be told")
      }
      let (range, flexibleFrom) = key.versions
      guard range.contains(prefix.version) else { return unsupportedVersion(key, prefix, connection) }
      let reply = ReplyContext(
        key: key, version: prefix.version, correlationID: prefix.correlationID, flexible: prefix.version >= flexibleFrom)
      // The client id keeps the classic form even in flexible headers.
      let clientID = try reader.nullableString("client_id")
      reader.flexible = reply.flexible
      try reader.tags()
      try dispatch(&reader, Request(reply: reply, clientID: clientID ?? "", connection: connection))
    } catch {
      connection.close("malformed request: \(error)")
    }
  }

  private func dispatch(_ reader: inout WireReader, _ request: Request) throws(WireError) {
    switch request.reply.key {
    case .produce: try produce(&reader, request)
    case .fetch: try fetch(&reader, request)
    case .listOffsets: try listOffsets(&reader, request)
    case .metadata: try metadata(&reader, request)
    case .offsetCommit: try offsetCommit(&reader, request)
    case .offsetFetch: try offsetFetch(&reader, request)
    case .findCoordinator: try findCoordinator(&reader, request)
    case .joinGroup: try joinGroup(&reader, request)
    case .heartbeat: try heartbeat(&reader, request)
    case .leaveGroup: try leaveGroup(&reader, request)
    case .syncGroup: try syncGroup(&reader, request)
    case .describeGroups: try describeGroups(&reader, request)
    case .listGroups: try listGroups(&reader, request)
    case .saslHandshake: try saslHandshake(&reader, request)
    case .apiVersions: apiVersions(.none, request.reply, request.connection)
    case .createTopics: try createTopics(&reader, request)
    case .deleteTopics: try deleteTopics(&reader, request)
    case .deleteRecords: try deleteRecords(&reader, request)
    case .initProducerID: try initProducerID(&reader, request)
    case .offsetForLeaderEpoch: try offsetForLeaderEpoch(&reader, request)
    case .describeConfigs: try describeConfigs(&reader, request)
    case .alterConfigs: try alterConfigs(&reader, request)
    case .createPartitions: try createPartitions(&reader, request)
    case .deleteGroups: try deleteGroups(&reader, request)
    case .incrementalAlterConfigs: try incrementalAlterConfigs(&reader, request)
    case .describeCluster: try describeCluster(&reader, request)
    }
  }

  // MARK: Waiting fetches

  /// Has `wait` answered when its partitions have grown enough or its time is over.
  func beginWait(_ wait: FetchWait, milliseconds: Int) {
    wait.isWaiting = true
    wait.connection.wait()
    for request in wait.partitions { request.partition?.add(wait) }
    wait.deadlineNanoseconds = NIODeadline.now().uptimeNanoseconds + UInt64(milliseconds) * 1_000_000
    waits.append(wait)
    if wait.deadlineNanoseconds < deadlineTaskNanoseconds { scheduleDeadline(wait.deadlineNanoseconds) }
  }

  private func endWait(_ wait: FetchWait) {
    wait.isWaiting = false
    for request in wait.partitions { request.partition?.remove(wait) }
    if let index = waits.firstIndex(where: { $0 === wait }) {
      waits.swapAt(index, waits.count - 1)
      waits.removeLast()
    }
  }

  /// After `bytes` were appended to the partition. Who has enough is answered at the end of the burst, so that one
  /// answer carries all of it.
  func grew(_ partition: Partition, by bytes: Int) {
    for wait in partition.waits {
      wait.bytesSeen += bytes
      if wait.bytesSeen >= wait.bytesMin { makeReady(wait) }
    }
  }

  /// After the partition was deleted or its readable range changed.
  func changed(_ partition: Partition) {
    for wait in partition.waits { makeReady(wait) }
  }

  private func makeReady(_ wait: FetchWait) {
    guard !wait.isReady else { return }
    wait.isReady = true
    ready.append(wait)
  }

  /// Answers the fetches that this burst has made ready. Called after every burst of input and after everything else that could
  /// append.
  func endOfBurst() {
    guard !ready.isEmpty, !isWaking else { return }
    isWaking = true
    // An answered connection may go on with requests that make others ready.
    while !ready.isEmpty {
      let wake = ready
      ready.removeAll(keepingCapacity: true)
      for wait in wake {
        wait.isReady = false
        if wait.isWaiting {
          finish(wait)
          wait.connection.resume()
        }
      }
    }
    isWaking = false
  }

  /// Answers a waiting fetch with what there is. The caller lets the connection go on.
  func finish(_ wait: FetchWait) {
    endWait(wait)
    replyFetch(wait)
    wait.connection.endWait()
  }

  private func scheduleDeadline(_ nanoseconds: UInt64) {
    deadlineTask?.cancel()
    deadlineTaskNanoseconds = nanoseconds
    deadlineTask = loop.scheduleTask(deadline: .uptimeNanoseconds(nanoseconds)) { [weak self] in self?.expireWaits() }
  }

  private func expireWaits() {
    deadlineTaskNanoseconds = .max
    deadlineTask = nil
    let now = NIODeadline.now().uptimeNanoseconds
    for wait in waits.filter({ $0.deadlineNanoseconds <= now }) where wait.isWaiting {
      finish(wait)
      wait.connection.resume()
    }
    endOfBurst()
    if let next = waits.map(\.deadlineNanoseconds).min(), next < deadlineTaskNanoseconds { scheduleDeadline(next) }
  }
}

/// A request whose header has been read.
struct Request {
  let reply: ReplyContext
  let clientID: String
  let connection: ConnectionHandler

  var version: Int16 { reply.version }

  func reply(_ body: (inout WireWriter) -> Void) { connection.reply(reply, body) }
}
