internal import CKafka

/// What librdkafka's callbacks leave for the consumer. They run on the owner thread, in the middle
/// of reading a batch; their work is done after the batch was handed out, so that a handler of a
/// rebalance knows every record that was read before it.
final class ConsumerCallbacks: ClientCallbacks {
  enum Pending {
    case error(rd_kafka_resp_err_t, String)
    case commit(KafkaError)
    case rebalance(rd_kafka_resp_err_t, [TopicPartition])
  }

  private var pending: [Pending] = []
  private(set) var hasEvents = false

  /// Set while the consumer closes: librdkafka waits inside for the rebalance to be done.
  var rebalanceNow: ((rd_kafka_resp_err_t, [TopicPartition]) -> Void)?

  func take() -> [Pending] {
    let taken = pending
    pending.removeAll()
    hasEvents = false
    return taken
  }

  private func leave(_ event: Pending) {
    pending.append(event)
    hasEvents = true
  }

  private static func from(_ opaque: UnsafeMutableRawPointer?) -> ConsumerCallbacks? {
    guard let opaque else { return nil }
    return Unmanaged<ClientCallbacks>.fromOpaque(opaque).takeUnretainedValue() as? ConsumerCallbacks
  }

  static func install(in configuration: OpaquePointer) {
    rd_kafka_conf_set_error_cb(configuration) { _, code, reason, opaque in
      ConsumerCallbacks.from(opaque)?.leave(
        .error(rd_kafka_resp_err_t(rawValue: code), reason.map { String(cString: $0) } ?? ""))
    }
    rd_kafka_conf_set_rebalance_cb(configuration) { _, code, partitions, opaque in
      guard let callbacks = ConsumerCallbacks.from(opaque) else { return }
      var changed: [TopicPartition] = []
      if let partitions {
        for index in 0..<Int(partitions.pointee.cnt) {
          let element = partitions.pointee.elems[index]
          changed.append(
            TopicPartition(topic: String(cString: element.topic), partition: element.partition))
        }
      }
      if let rebalanceNow = callbacks.rebalanceNow {
        rebalanceNow(code, changed)
      } else {
        callbacks.leave(.rebalance(code, changed))
      }
    }
    rd_kafka_conf_set_offset_commit_cb(configuration) { _, code, _, opaque in
      guard code.isError, code != RD_KAFKA_RESP_ERR__NO_OFFSET else { return }
      ConsumerCallbacks.from(opaque)?.leave(.commit(KafkaError(code, "Offsets are not committed")))
    }
  }
}
