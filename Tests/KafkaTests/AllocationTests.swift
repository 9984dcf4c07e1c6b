import AllocationThresholds
import Kafka
import Testing

/// Reading and producing in the steady state: ours is 0; what librdkafka allocates on our thread
/// for each record is counted and held.
@Suite struct AllocationTests {
  @Test(.enabled(if: AllocationThresholds.areCounted))
  func readingAllocatesNothing() throws {
    let cluster = try MockCluster()
    cluster.createTopic("t", partitions: 2)
    let producer = try KafkaProducer(cluster.settings)
    try producer.fill("t", partitions: 2, perPartition: 5_000)
    producer.close()
    let consumer = try KafkaConsumer(cluster.settings, group: "g", isolation: .readUncommitted)
    defer { consumer.close() }
    try consumer.assign((0..<2).map { TopicPartitionOffset(topic: "t", partition: $0, offset: .beginning) })
    _ = consumer.read(500, max: 100)
    // Everything is in the client's queue by now or comes through its own threads.
    var records = 0
    var bytes = 0
    var next: [Int64] = [0, 0]
    var lookUps = false
    func read(_ count: Int) throws -> Int {
      records = 0
      return try AllocationThresholds.ofThread {
        try eventually("the records") {
          consumer.poll(timeoutMilliseconds: 50, max: 100) { batch in
            for index in 0..<batch.count {
              let message = batch[index]
              records += 1
              bytes += (message.value?.count ?? 0) + (message.key?.count ?? 0) + message.topic
              if message.timestampMilliseconds < 0 { bytes = -1_000_000 }
              if lookUps && message.header("absent") != nil { bytes = -1_000_000 }
              next[Int(message.partition)] = message.offset + 1
            }
          }
          for partition in 0..<2 where next[partition] > 0 {
            try consumer.storeOffset(topic: 0, partition: Int32(partition), next: next[partition])
          }
          return records >= count
        }
      }
    }
    let plain = try read(6_000)
    lookUps = true
    let withLookUps = try read(1_000)
    #expect(bytes > 0)
    let thresholds = try AllocationThresholds()
    let allowed = try #require(thresholds["kafka.consume"])
    #expect(plain <= allowed, "\(plain) allocations")
    // librdkafka parses a record's headers in a buffer that it allocates.
    let allowedPerLookUp = try #require(thresholds["kafka.header-look-up.librdkafka"])
    #expect(withLookUps <= allowedPerLookUp * records, "\(withLookUps) allocations for \(records) records")
  }

  @Test(.enabled(if: AllocationThresholds.areCounted))
  func producingAllocatesWhatLibrdkafkaNeeds() throws {
    let cluster = try MockCluster()
    cluster.createTopic("t", partitions: 1)
    let producer = try KafkaProducer(cluster.settings)
    defer { producer.close() }
    let topic = try producer.topic("t")
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 100, alignment: 1)
    defer { bytes.deallocate() }
    bytes.initializeMemory(as: UInt8.self, repeating: 7)
    let value = UnsafeRawBufferPointer(bytes)
    let headers = KafkaHeaders(["content-type": "application/json"])
    func produce(_ headers: KafkaHeaders?) -> Int {
      AllocationThresholds.ofThread {
        for _ in 0..<1_000 {
          if producer.produce(topic, partition: 0, key: value, value: value, headers: headers) != .queued { return }
        }
      }
    }
    _ = produce(nil)
    _ = produce(headers)
    producer.deliverAll()
    let plain = produce(nil)
    let withHeaders = produce(headers)
    var reported = 0
    let reporting = AllocationThresholds.ofThread {
      producer.flush(timeoutMilliseconds: 60_000) { _, _, _, error in if error == nil { reported += 1 } }
    }
    #expect(reported == 2_000)
    let thresholds = try AllocationThresholds()
    for (name, count) in [
      ("kafka.produce.librdkafka", plain), ("kafka.produce-with-a-header.librdkafka", withHeaders),
      ("kafka.delivery-report", reporting),
    ] {
      let allowedPerRecord = try #require(thresholds[name])
      #expect(count <= allowedPerRecord * 1_000, "\(name): \(count) allocations")
    }
  }
}
