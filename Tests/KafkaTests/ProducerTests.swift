import CKafka
import Kafka
import Testing

@Suite struct ProducerTests {
  @Test func reportsCarryOpaquePartitionAndOffset() throws {
    let cluster = try MockCluster()
    cluster.createTopic("t", partitions: 2)
    let producer = try KafkaProducer(cluster.settings)
    defer { producer.close() }
    let topic = try producer.topic("t")
    #expect(topic.partitionCount == 2)
    #expect(try producer.topic("t") === topic)
    for index in 0..<1_000 { #expect(producer.send(topic, Int32(index % 2), "v", opaque: UInt(index)) == .queued) }
    var reports: [UInt: (Int32, Int64)] = [:]
    let flushed = producer.flush(timeoutMilliseconds: 60_000) { opaque, partition, offset, error in
      #expect(error == nil)
      reports[opaque] = (partition, offset)
    }
    #expect(flushed)
    #expect(reports.count == 1_000)
    for index in 0..<1_000 {
      let report = try #require(reports[UInt(index)])
      #expect(report.0 == Int32(index % 2))
      #expect(report.1 == Int64(index / 2))
    }
    #expect(producer.outstandingCount == 0)
  }

  @Test func borrowedPayloadsAreSent() throws {
    let cluster = try MockCluster()
    cluster.createTopic("t", partitions: 1)
    let producer = try KafkaProducer(cluster.settings)
    let topic = try producer.topic("t")
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 5, alignment: 1)
    defer { bytes.deallocate() }
    bytes.copyBytes(from: "hello".utf8)
    let result = producer.produce(
      topic, partition: 0, value: UnsafeRawBufferPointer(bytes), ownership: .borrowedUntilDelivery)
    #expect(result == .queued)
    producer.deliverAll()
    producer.close()
    let consumer = try KafkaConsumer(cluster.settings)
    defer { consumer.close() }
    try consumer.assign([TopicPartitionOffset(topic: "t", partition: 0, offset: .beginning)])
    #expect(consumer.read(1).first?.value == "hello")
  }

  @Test func aPartitionThatDoesNotExistIsRefused() throws {
    let cluster = try MockCluster()
    cluster.createTopic("t", partitions: 2)
    let producer = try KafkaProducer(cluster.settings)
    defer { producer.close() }
    let topic = try producer.topic("t")
    for partition: Int32 in [-1, 2, .max] {
      // With headers too: librdkafka would free them twice.
      guard case .failed(let error) = producer.send(topic, partition, "v", headers: KafkaHeaders(["a": "b"])) else {
        Issue.record("partition \(partition) was taken")
        continue
      }
      #expect(error.code == .unknownPartitionLocally)
    }
  }

  @Test func aFullQueueIsAResult() throws {
    let cluster = try MockCluster()
    cluster.createTopic("t", partitions: 1)
    var settings = cluster.settings
    settings.properties["queue.buffering.max.messages"] = "10"
    let producer = try KafkaProducer(settings)
    let topic = try producer.topic("t")
    cluster.setBroker(down: true)
    var results: [ProduceResult] = []
    for _ in 0..<11 { results.append(producer.send(topic, 0, "v")) }
    #expect(results.prefix(10).allSatisfy { $0 == .queued })
    #expect(results.last == .queueFull)
    #expect(producer.send(topic, 0, "v", headers: KafkaHeaders(["a": "b"])) == .queueFull)
    // It empties when the broker is back, and takes more.
    cluster.setBroker(down: false)
    producer.deliverAll()
    #expect(producer.send(topic, 0, "v") == .queued)
    producer.deliverAll()
    producer.close()
  }

  @Test func retriesDoNotDuplicateOrReorder() throws {
    let cluster = try MockCluster()
    cluster.createTopic("t", partitions: 1)
    let producer = try KafkaProducer(cluster.settings)
    let topic = try producer.topic("t")
    cluster.failNext(
      API.produce,
      [RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT])
    for index in 0..<500 { #expect(producer.send(topic, 0, "\(index)") == .queued) }
    producer.deliverAll()
    producer.close()
    let consumer = try KafkaConsumer(cluster.settings)
    defer { consumer.close() }
    try consumer.assign([TopicPartitionOffset(topic: "t", partition: 0, offset: .beginning)])
    #expect(consumer.read(500).map(\.value) == (0..<500).map { "\($0)" })
  }

  @Test func whatIsNotDeliveredInTimeIsReportedWhenItCloses() throws {
    let cluster = try MockCluster()
    cluster.createTopic("t", partitions: 1)
    let producer = try KafkaProducer(cluster.settings)
    let topic = try producer.topic("t")
    cluster.setBroker(down: true)
    for index in 0..<5 { #expect(producer.send(topic, 0, "v", opaque: UInt(index)) == .queued) }
    var purged: [UInt] = []
    let flushed = producer.close(flushMilliseconds: 100) { opaque, _, _, error in
      #expect(error?.code == .purgedFromQueue || error?.code == .purgedInFlight)
      purged.append(opaque)
    }
    #expect(!flushed)
    #expect(purged.sorted() == [0, 1, 2, 3, 4])
  }

  @Test func aFatalErrorAsksForRecreation() throws {
    let cluster = try MockCluster()
    cluster.createTopic("t", partitions: 1)
    let producer = try KafkaProducer(cluster.settings)
    defer { producer.close() }
    let topic = try producer.topic("t")
    #expect(producer.send(topic, 0, "before") == .queued)
    producer.deliverAll()
    var events = 0
    producer.onEvent = { event in if case .fatal = event { events += 1 } }
    // Not retriable for an idempotent producer.
    cluster.failNext(API.produce, [RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER])
    #expect(producer.send(topic, 0, "lost") == .queued)
    eventually("the fatal error") {
      producer.poll(timeoutMilliseconds: 20) { _, _, _, _ in }
      return producer.needsRecreation
    }
    guard case .failed(let error) = producer.send(topic, 0, "refused") else {
      Issue.record("a dead producer took a record")
      return
    }
    #expect(error.isFatal)
    try producer.recreate { _, _, _, _ in }
    #expect(!producer.needsRecreation)
    #expect(events == 1)
    #expect(producer.send(topic, 0, "after") == .queued)
    producer.deliverAll()
  }

  @Test func aTopicThatCannotBeResolvedIsAnErrorThatNamesIt() throws {
    let producer = try KafkaProducer(KafkaSettings(bootstrapServers: "127.0.0.1:1"))
    defer { producer.close() }
    let error = try #require(throws: KafkaError.self) { try producer.topic("absent", timeoutMilliseconds: 300) }
    #expect(error.message.contains("absent"))
  }
}
