import ArgumentParser
import Events
import Foundation
import Kafka
import Model
import Telemetry

/// Sends records to one topic, each to the partition of its key, at most so many a second.
final class RecordSender {
  /// Lines reported one by one; further ones are counted.
  private static let reportedMax = 20
  private static let flushMilliseconds: Int32 = 30_000

  private let producer: KafkaProducer
  private let topic: ProducerTopic
  private let headers: KafkaHeaders
  private let key: [UInt8]?
  private let nanosecondsBetween: Double?
  private let progress = Progress()
  private var sent = 0
  private var delivered = 0
  private var refused = 0
  private var failed = 0
  private var lastFailure = ""

  init(_ settings: KafkaSettings, topic name: String, contentType: String, key: String?, rate: Double?) throws {
    _ = try reachedAdmin(settings)
    producer = try KafkaProducer(settings, lingerMilliseconds: 5)
    topic = try producer.topic(name)
    headers = KafkaHeaders(["content-type": contentType])
    self.key = key.map { Array($0.utf8) }
    nanosecondsBetween = rate.map { 1e9 / $0 }
  }

  func sendAll(from source: inout any RecordSource, name: String, kind: ProduceCommand.Kind) throws {
    let start = MonotonicClock.nanoseconds()
    while true {
      waitForTurn(since: start)
      let outcome = try source.next { record, ownKey in
        if let key { try key.withUnsafeBytes { try send(record, $0) } } else { try send(record, ownKey) }
      }
      guard let outcome else { break }
      if case .failure(let problem) = outcome {
        refused += 1
        progress.clear()
        if refused <= Self.reportedMax { report("\(name), line \(source.line): \(problem)") }
        if refused == Self.reportedMax + 1 { report("… further wrong lines are counted only") }
      }
      progress.show("\(sent) sent, \(refused) wrong")
    }
    let isFlushed = producer.flush(timeoutMilliseconds: Self.flushMilliseconds, delivery)
    progress.clear()
    let seconds = max(1e-9, Double(MonotonicClock.nanoseconds() - start) / 1e9)
    report(
      "\(delivered) \(kind.rawValue) sent to \(topic.name) (\(topic.partitionCount) partition\(topic.partitionCount == 1 ? "" : "s")) in "
        + "\(String(format: "%.1f", seconds)) s" + (refused > 0 ? ", \(refused) wrong line\(refused == 1 ? "" : "s") left out" : "")
        + (failed > 0 ? ", \(failed) not delivered: \(lastFailure)" : "")
        + (isFlushed ? "" : ", \(producer.outstandingCount) given up after \(Self.flushMilliseconds / 1000) s"))
    producer.close(flushMilliseconds: 0)
    if refused > 0 || failed > 0 || !isFlushed { throw ExitCode.failure }
  }

  private func send(_ record: UnsafeRawBufferPointer, _ key: UnsafeRawBufferPointer) throws {
    let partition = Int32(Model.partition(forKey: key, count: topic.partitionCount))
    while true {
      switch producer.produce(topic, partition: partition, key: key, value: record, headers: headers) {
      case .queued:
        sent += 1
        if sent % 1024 == 0 { producer.poll(timeoutMilliseconds: 0, delivery) }
        return
      case .queueFull: producer.poll(timeoutMilliseconds: 100, delivery)
      case .failed(let error): throw error
      }
    }
  }

  private func delivery(_: UInt, _: Int32, _: Int64, error: KafkaError?) {
    if let error {
      failed += 1
      lastFailure = error.message
    } else {
      delivered += 1
    }
  }

  /// Open loop: record n is due n times the interval after the start, however long the others took.
  private func waitForTurn(since start: Int64) {
    guard let nanosecondsBetween else { return }
    let due = start + Int64(Double(sent) * nanosecondsBetween)
    while true {
      let left = due - MonotonicClock.nanoseconds()
      if left <= 0 { return }
      producer.poll(timeoutMilliseconds: Int32(clamping: min(100, left / 1_000_000)), delivery)
      if left < 1_000_000 { usleep(UInt32(left / 1000)) }
    }
  }
}
