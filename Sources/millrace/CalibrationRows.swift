import Families
import Foundation
import Kafka
import Quantization

/// Rows whose activations calibrate a model: from a file, or from what is in a topic.
enum CalibrationRows {
  static func read(_ source: String, label: String?, model: LoadedModel, rowsMax: Int, connection: KafkaConnection) throws -> EvaluationRows {
    guard source.hasPrefix("topic:") else {
      // Labels are of no use here: a file without them will do, and one with them too.
      if let rows = try? EvaluationFile.rows(source, label: nil, model: model, rowsMax: rowsMax) { return rows }
      return try EvaluationFile.rows(source, label: label, model: model, rowsMax: rowsMax)
    }
    let topic = String(source.dropFirst("topic:".count))
    let rows: EvaluationRows
    do { rows = try EvaluationRows(model: model) } catch { throw CleanFailure("\(error)") }
    let refused = try read(topic: topic, into: rows, rowsMax: rowsMax, connection: connection)
    if let first = refused.first { report("\(refused.count) records of \(topic) are no rows of the model and left out; the first: \(first)") }
    guard rows.rowCount > 0 else { throw CleanFailure("topic \(topic) has no rows of the model") }
    return rows
  }

  /// All that is in the topic now, up to `rowsMax` rows.
  /// - Returns: how many records were left out, and why the first was: a topic may hold any number of them.
  private static func read(topic: String, into rows: EvaluationRows, rowsMax: Int, connection: KafkaConnection) throws -> (count: Int, first: EvaluationError?) {
    do {
      let settings = try connection.settings(clientID: "millrace-model")
      guard let found = try reachedAdmin(settings).listTopics().first(where: { $0.name == topic }) else {
        throw CleanFailure("there is no topic \(topic); `millrace topics` shows what there is")
      }
      let consumer = try KafkaConsumer(settings, isolation: .readCommitted, reportsPartitionEnds: true)
      defer { consumer.close() }
      var open = Set((0..<Int32(clamping: found.partitions)).map { TopicPartition(topic: topic, partition: $0) })
      var failure: KafkaError?
      consumer.onEvent = { event in
        switch event {
        case .partitionEnd(let topic, let partition, _): open.remove(TopicPartition(topic: consumer.topicName(topic), partition: partition))
        case .fatal(let error): failure = error
        case .brokersUnreachable(let error): report("\(error.message); trying again")
        case .offsetOutOfRange, .partitionError, .commitFailed, .error: break
        }
      }
      try consumer.assign(open.map { TopicPartitionOffset(topic: $0.topic, partition: $0.partition, offset: .beginning) })
      var refused: (count: Int, first: EvaluationError?) = (0, nil)
      while failure == nil, !open.isEmpty, rows.rowCount < rowsMax {
        consumer.poll(timeoutMilliseconds: 200) { batch in
          batch.forEach { message in
            guard rows.rowCount < rowsMax, let value = message.value else { return }
            do throws(EvaluationError) {
              try rows.append(event: value, contentType: message.header("content-type"), place: "\(topic)/\(message.partition)@\(message.offset)")
            } catch { refused = (refused.count + 1, refused.first ?? error) }
          }
        }
      }
      if let failure { throw failure }
      return refused
    } catch let error as KafkaError { throw CleanFailure(error.message) }
  }
}
