import Events
import Foundation
import Kafka

/// One record as it stands in a topic.
struct TopicRecord {
  var partition: Int32
  var offset: Int64
  var value: [UInt8]?
  var headers: [String: String]
}

/// Raw records in and out, past everything that the command line checks.
struct TopicClient {
  let kafka: KafkaSettings

  /// Sends records to one partition and waits for each acknowledgement.
  /// - Returns: the offset of each.
  func send(_ topic: String, partition: Int32, _ values: [[UInt8]?], contentType: String? = nil) throws -> [Int64] {
    var settings = kafka
    settings.properties["message.max.bytes"] = "20000000"
    let producer = try KafkaProducer(settings)
    defer { producer.close(flushMilliseconds: 0) }
    let target = try producer.topic(topic)
    let headers = contentType.map { KafkaHeaders(["content-type": $0]) }
    var offsets = [Int64](repeating: -1, count: values.count)
    var problem: KafkaError?
    let report: (UInt, Int32, Int64, KafkaError?) -> Void = { index, _, offset, error in
      offsets[Int(index)] = offset
      if let error { problem = error }
    }
    for (index, value) in values.enumerated() {
      let result =
        if let value {
          value.withUnsafeBytes {
            producer.produce(target, partition: partition, value: $0, headers: headers, opaque: UInt(index))
          }
        } else {
          producer.produce(target, partition: partition, value: nil, headers: headers, opaque: UInt(index))
        }
      guard result == .queued else { throw MillraceProcess.Failure(description: "\(topic): \(result)") }
    }
    guard producer.flush(timeoutMilliseconds: 30_000, report) else {
      throw MillraceProcess.Failure(description: "\(topic): not acknowledged in 30 s")
    }
    if let problem { throw problem }
    return offsets
  }

  /// The end offset of each partition.
  func ends(_ topic: String) throws -> [Int64] {
    let count = try KafkaAdmin(kafka).partitionCount(topic) ?? 0
    let consumer = try KafkaConsumer(kafka)
    defer { consumer.close() }
    return try (0..<Int32(count)).map {
      try consumer.watermarks(topic: topic, partition: $0, timeoutMilliseconds: 20_000).high
    }
  }

  /// How far the predictions of each partition answer the events without a hole, and how many answer what was answered before.
  func answered() throws -> (next: [Int64], duplicates: Int) {
    let reader = PredictionReader()
    var tilings = try ends("predictions").map { _ in PredictionTiling(next: 0) }
    var duplicates = 0
    for record in try records("predictions") {
      guard (record.value ?? []).withUnsafeBytes({ reader.read($0) }) else {
        throw MillraceProcess.Failure(description: "predictions/\(record.partition) at \(record.offset): \(reader.problem())")
      }
      let decision = tilings[Int(record.partition)].decide(from: reader.prediction.from, to: reader.prediction.to)
      if decision == .duplicate { duplicates += 1 }
    }
    return (tilings.map { $0.next ?? 0 }, duplicates)
  }

  /// All records from the beginning up to the ends of now, partition by partition.
  func records(_ topic: String) throws -> [TopicRecord] {
    let ends = try ends(topic)
    let consumer = try KafkaConsumer(kafka, isolation: .readUncommitted)
    defer { consumer.close() }
    try consumer.assign(
      ends.indices.map { TopicPartitionOffset(topic: topic, partition: Int32($0), offset: .beginning) })
    var next = ends.map { _ in Int64(0) }
    var records: [TopicRecord] = []
    try eventually("\(topic) read up to \(ends)") {
      consumer.poll(timeoutMilliseconds: 50) { (batch: borrowing MessageBatch) in
        batch.forEach { message in
          next[Int(message.partition)] = message.offset + 1
          var headers: [String: String] = [:]
          for header in message.headers { headers[header.name] = String(decoding: header.value ?? [], as: UTF8.self) }
          records.append(
            TopicRecord(
              partition: message.partition, offset: message.offset, value: message.value.map { Array($0) }, headers: headers))
        }
      }
      return zip(next, ends).allSatisfy { $0 >= $1 }
    }
    return records.sorted { ($0.partition, $0.offset) < ($1.partition, $1.offset) }
  }
}
