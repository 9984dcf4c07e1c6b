import CKafka
import Kafka
import Synchronization
import Telemetry
import Testing

/// Reading, against librdkafka's mock brokers.
@Suite struct ConsumerTests {
  private func filled(_ perPartition: Int, partitions: Int32 = 3) throws -> MockCluster {
    let cluster = try MockCluster()
    cluster.createTopic("numbers", partitions: partitions)
    let producer = try KafkaProducer(cluster.settings)
    try producer.fill("numbers", partitions: partitions, perPartition: perPartition)
    producer.close()
    return cluster
  }

  private func everything(_ partitions: Int32 = 3) -> [TopicPartitionOffset] {
    (0..<partitions).map { TopicPartitionOffset(topic: "numbers", partition: $0, offset: .beginning) }
  }

  @Test func drainsEachPartitionInOrder() throws {
    let cluster = try filled(700)
    let consumer = try KafkaConsumer(cluster.settings, isolation: .readUncommitted)
    defer { consumer.close() }
    try consumer.assign(everything())
    let read = consumer.read(2_100, max: 64)
    #expect(read.count == 2_100)
    for partition: Int32 in 0..<3 {
      let own = read.filter { $0.partition == partition }
      #expect(own.map(\.offset) == (0..<700).map(Int64.init))
      #expect(own.map(\.value) == (0..<700).map { "\(partition):\($0)" })
      #expect(own.map(\.key) == (0..<700).map { "k\($0)" })
    }
    #expect(try consumer.position(topic: 0, partition: 1) == 700)
    #expect(consumer.topicName(0) == "numbers")
    let ends = try consumer.watermarks(topic: "numbers", partition: 0, timeoutMilliseconds: 60_000)
    #expect(ends.low == 0 && ends.high == 700)
  }

  @Test func neverHandsOutMoreThanAsked() throws {
    let cluster = try filled(100, partitions: 1)
    let consumer = try KafkaConsumer(cluster.settings)
    defer { consumer.close() }
    try consumer.assign(everything(1))
    var total = 0
    eventually("all records") {
      let count = consumer.poll(timeoutMilliseconds: 50, max: 7) { batch in #expect(batch.count <= 7) }
      #expect(count <= 7)
      total += count
      return total == 100
    }
  }

  @Test func startsWhereItIsTold() throws {
    let cluster = try filled(50)
    let consumer = try KafkaConsumer(cluster.settings)
    defer { consumer.close() }
    try consumer.assign([
      TopicPartitionOffset(topic: "numbers", partition: 0, offset: .exact(48)),
      TopicPartitionOffset(topic: "numbers", partition: 1, offset: .end),
    ])
    var read = consumer.read(2)
    #expect(read.map(\.offset) == [48, 49])
    #expect(read.allSatisfy { $0.partition == 0 })
    // Another partition joins, one leaves.
    try consumer.addAssignments([TopicPartitionOffset(topic: "numbers", partition: 2, offset: .exact(47))])
    read = consumer.read(3)
    #expect(read.map(\.offset) == [47, 48, 49])
    try consumer.removeAssignments([TopicPartition(topic: "numbers", partition: 2)])
    #expect(try consumer.assignment().map(\.partition).sorted() == [0, 1])
    // Sought back.
    try consumer.seek(topic: 0, partition: 0, to: .exact(45))
    read = consumer.read(5)
    #expect(read.map(\.offset) == [45, 46, 47, 48, 49])
  }

  @Test func pausedPartitionsDeliverNothingAndLoseNothing() throws {
    let cluster = try filled(200, partitions: 2)
    let consumer = try KafkaConsumer(cluster.settings)
    defer { consumer.close() }
    try consumer.assign(everything(2))
    var read = consumer.read(20, max: 10)
    var pressure = BackPressure(highMark: 20, lowMark: 5)
    try consumer.apply(&pressure, inFlight: 20)
    for _ in 0..<10 {
      let count = consumer.poll(timeoutMilliseconds: 20, max: 10) { _ in }
      #expect(count == 0)
    }
    try consumer.apply(&pressure, inFlight: 5)
    read += consumer.read(400 - read.count)
    for partition: Int32 in 0..<2 {
      #expect(read.filter { $0.partition == partition }.map(\.offset) == (0..<200).map(Int64.init))
    }
    // One alone.
    try consumer.assign(everything(2))
    try consumer.pause(topic: 0, partition: 0)
    read = consumer.read(200)
    #expect(read.allSatisfy { $0.partition == 1 })
    try consumer.resume(topic: 0, partition: 0)
    read = consumer.read(200)
    #expect(read.map(\.offset) == (0..<200).map(Int64.init))
  }

  @Test func severalTopicsAreToldApart() throws {
    let cluster = try MockCluster()
    let producer = try KafkaProducer(cluster.settings)
    for index in 0..<5 {
      cluster.createTopic("t\(index)", partitions: 1)
      #expect(producer.send(try producer.topic("t\(index)"), 0, "from t\(index)") == .queued)
    }
    producer.deliverAll()
    producer.close()
    let consumer = try KafkaConsumer(cluster.settings)
    defer { consumer.close() }
    try consumer.assign((0..<5).map { TopicPartitionOffset(topic: "t\($0)", partition: 0, offset: .beginning) })
    let read = consumer.read(5)
    #expect(Set(read.map { consumer.topicName($0.topic) + " " + ($0.value ?? "") }) == Set((0..<5).map { "t\($0) from t\($0)" }))
    #expect(try consumer.topicIndex("t3") == 3)
  }

  @Test func tombstonesEmptyValuesHeadersAndTimestamps() throws {
    let cluster = try MockCluster()
    cluster.createTopic("t", partitions: 1)
    let producer = try KafkaProducer(cluster.settings)
    let topic = try producer.topic("t")
    let headers = KafkaHeaders(["content-type": "application/json", "n": "1"])
    #expect(producer.send(topic, 0, nil, key: "k") == .queued)
    #expect(producer.send(topic, 0, "") == .queued)
    #expect(producer.send(topic, 0, "x", headers: headers, timestampMilliseconds: 1_370_000_000_000) == .queued)
    #expect(producer.send(topic, 0, nil, headers: headers) == .queued)
    producer.deliverAll()
    producer.close()
    let consumer = try KafkaConsumer(cluster.settings)
    defer { consumer.close() }
    try consumer.assign([TopicPartitionOffset(topic: "t", partition: 0, offset: .beginning)])
    var seen = 0
    eventually("four records") {
      consumer.poll(timeoutMilliseconds: 50) { batch in
        batch.forEach { message in
          switch message.offset {
          case 0:
            #expect(message.value == nil)
            #expect(message.key != nil)
            #expect(message.header("content-type") == nil)
          case 1:
            #expect(message.value?.count == 0)
            #expect(message.key == nil)
          case 2:
            #expect(message.header("content-type").map { String(decoding: $0, as: UTF8.self) } == "application/json")
            #expect(message.header("absent") == nil)
            #expect(message.headers.map(\.name) == ["content-type", "n"])
            #expect(message.timestampMilliseconds == 1_370_000_000_000)
          default:
            #expect(message.value == nil)
            #expect(message.header("n") != nil)
          }
          seen += 1
        }
      }
      return seen == 4
    }
  }

  @Test func anOffsetOutOfRangeStopsThePartitionUntilItIsTold() throws {
    let cluster = try filled(10, partitions: 2)
    let consumer = try KafkaConsumer(cluster.settings)
    defer { consumer.close() }
    var outOfRange: [(partition: Int32, offset: Int64)] = []
    consumer.onEvent = { event in
      if case .offsetOutOfRange(_, let partition, let offset, _) = event { outOfRange.append((partition, offset)) }
    }
    try consumer.assign([
      TopicPartitionOffset(topic: "numbers", partition: 0, offset: .exact(1_000)),
      TopicPartitionOffset(topic: "numbers", partition: 1, offset: .beginning),
    ])
    var read: [Copied] = []
    eventually("the event, and the other partition's records") {
      consumer.poll(timeoutMilliseconds: 50) { batch in batch.forEach { read.append(Copied($0)) } }
      return read.count == 10 && !outOfRange.isEmpty
    }
    #expect(read.allSatisfy { $0.partition == 1 })
    #expect(outOfRange.first?.partition == 0)
    #expect(outOfRange.first?.offset == 1_000)
    try consumer.seek(topic: 0, partition: 0, to: .exact(4))
    read = consumer.read(6)
    #expect(read.map(\.offset) == [4, 5, 6, 7, 8, 9])
    #expect(read.allSatisfy { $0.partition == 0 })
  }

  @Test func fetchErrorsAreRetriedWithoutLoss() throws {
    let cluster = try filled(300, partitions: 1)
    cluster.failNext(
      API.fetch,
      [
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR__TRANSPORT,
        RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
      ])
    let consumer = try KafkaConsumer(cluster.settings)
    defer { consumer.close() }
    try consumer.assign(everything(1))
    #expect(consumer.read(300).map(\.offset) == (0..<300).map(Int64.init))
  }

  @Test func aBrokerThatGoesAwayAndComesBackIsAnEvent() throws {
    let cluster = try filled(10, partitions: 1)
    let consumer = try KafkaConsumer(cluster.settings)
    defer { consumer.close() }
    var unreachable = 0
    consumer.onEvent = { event in if case .brokersUnreachable = event { unreachable += 1 } }
    try consumer.assign(everything(1))
    #expect(consumer.read(10).count == 10)
    cluster.setBroker(down: true)
    let start = MonotonicClock.nanoseconds()
    eventually("the loss is said") {
      consumer.serve()
      return unreachable > 0
    }
    cluster.setBroker(down: false)
    let producer = try KafkaProducer(cluster.settings)
    try producer.fill("numbers", partitions: 1, perPartition: 5)
    producer.close()
    #expect(consumer.read(5).map(\.offset) == [10, 11, 12, 13, 14])
    let seconds = Double(MonotonicClock.nanoseconds() - start) / 1e9
    #expect(Double(unreachable) <= 1 + seconds / 5, "said \(unreachable) times in \(seconds) s")
  }

  @Test func partitionEndsAreToldWhenAskedFor() throws {
    let cluster = try filled(5, partitions: 2)
    let consumer = try KafkaConsumer(cluster.settings, reportsPartitionEnds: true)
    defer { consumer.close() }
    var ends: [Int32: Int64] = [:]
    var readBefore = 0
    consumer.onEvent = { event in
      if case .partitionEnd(_, let partition, let offset) = event { ends[partition] = offset }
    }
    try consumer.assign(everything(2))
    eventually("both ends") {
      readBefore += consumer.poll(timeoutMilliseconds: 50) { _ in }
      return ends.count == 2
    }
    #expect(ends == [0: 5, 1: 5])
    #expect(readBefore == 10)
  }

  @Test func anotherThreadWakesAPoll() throws {
    let cluster = try MockCluster()
    cluster.createTopic("quiet", partitions: 1)
    let consumer = try KafkaConsumer(cluster.settings)
    let polls = Atomic<Int>(0)
    let thread = OwnerThread(name: "poller") { thread in
      try? consumer.assign([TopicPartitionOffset(topic: "quiet", partition: 0, offset: .beginning)])
      while !thread.isStopRequested {
        polls.add(1, ordering: .relaxed)
        consumer.poll(timeoutMilliseconds: 3_600_000) { _ in }
      }
      consumer.close()
    }
    thread.setWakeUp { consumer.wakeUp() }
    try thread.start()
    eventually("it polls") { polls.load(ordering: .relaxed) > 0 }
    // Ends only if the hour-long poll is woken.
    thread.requestStop()
    thread.join()
    #expect(consumer.isClosed)
  }

  @Test func aThrowingBodyLosesNoMemoryAndIsPassedOn() throws {
    struct Stop: Error {}
    let cluster = try filled(10, partitions: 1)
    let consumer = try KafkaConsumer(cluster.settings)
    defer { consumer.close() }
    try consumer.assign(everything(1))
    var thrown = false
    eventually("records come") {
      do {
        try consumer.poll(timeoutMilliseconds: 50) { _ in throw Stop() }
      } catch is Stop {
        thrown = true
      } catch {}
      return thrown
    }
  }
}
