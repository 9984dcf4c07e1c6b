internal import CKafka

extension KafkaConsumer {
  /// How long a commit before giving partitions up, or the look-up of committed offsets, may hold
  /// the owner thread: well within the session timeout.
  static let rebalanceRequestMillisecondsMax: Int32 = 3_000

  /// Joins the consumer's group for these topics.
  ///
  /// - Parameters:
  ///   - startWithoutCommit: where to start a partition that the group never committed.
  ///   - onRebalance: runs on the owner thread inside `poll` (or `close`), after the records read
  ///     before the change. Store the offsets of acknowledged work in it on `.revoked`: they are
  ///     committed next, then the partitions go.
  public func subscribe(
    _ topicNames: [String], startWithoutCommit: StartOffset = .beginning,
    onRebalance: @escaping (KafkaConsumer, Rebalance) -> Void = { _, _ in }
  ) throws(KafkaError) {
    assertOwner()
    precondition(group != nil, "a consumer without a group cannot subscribe")
    for name in topicNames where !name.hasPrefix("^") { _ = try topicIndex(name) }
    subscription = Subscription(startWithoutCommit: startWithoutCommit, onRebalance: onRebalance)
    let list = PartitionList(topicNames.map { TopicPartition(topic: $0, partition: -1) })
    let code = rd_kafka_subscribe(client, list.native)
    if code.isError { throw KafkaError(code, "Subscription to \(topicNames) failed") }
  }

  /// Leaves the group; the partitions are revoked in the next polls.
  public func unsubscribe() throws(KafkaError) {
    assertOwner()
    let code = rd_kafka_unsubscribe(client)
    if code.isError { throw KafkaError(code, "The group is not left") }
  }

  func rebalance(_ code: rd_kafka_resp_err_t, _ partitions: [TopicPartition]) {
    switch code {
    case RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS:
      take(partitions)
    case RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS:
      giveUp(partitions)
    default:
      _ = rd_kafka_assign(client, nil)
      onEvent(.error(KafkaError(code, "The group could not share its partitions")))
    }
  }

  private var isCooperative: Bool {
    guard let name = rd_kafka_rebalance_protocol(client) else { return false }
    return String(cString: name) == "COOPERATIVE"
  }

  private func take(_ partitions: [TopicPartition]) {
    for partition in partitions { _ = topics.index(of: partition.topic) }
    let list = PartitionList(partitions)
    // Where the group stands, so that the handler knows and a partition without a commit starts
    // where the subscription says. When the broker does not answer, librdkafka asks again itself.
    let asked = partitions.isEmpty
      ? RD_KAFKA_RESP_ERR_NO_ERROR
      : rd_kafka_committed(client, list.native, Self.rebalanceRequestMillisecondsMax)
    if !asked.isError, let start = subscription?.startWithoutCommit {
      for index in 0..<list.count where list[index].offset < 0 && !list[index].err.isError {
        list[index].offset = start.native
      }
    }
    subscription?.onRebalance(self, .assigned(list.topicPartitionOffsets))
    if isCooperative {
      if let error = rd_kafka_incremental_assign(client, list.native) {
        onEvent(.error(KafkaError(consuming: error, "Partitions of the group are not assigned")))
      }
    } else {
      let code = rd_kafka_assign(client, list.native)
      if code.isError { onEvent(.error(KafkaError(code, "Partitions of the group are not assigned"))) }
    }
  }

  private func giveUp(_ partitions: [TopicPartition]) {
    let lost = rd_kafka_assignment_lost(client) != 0
    subscription?.onRebalance(self, .revoked(partitions, lost: lost))
    if !lost {
      do throws(KafkaError) {
        try commitAndWait(nil, Self.rebalanceRequestMillisecondsMax)
      } catch {
        onEvent(.commitFailed(error))
      }
    }
    if isCooperative {
      let list = PartitionList(partitions)
      if let error = rd_kafka_incremental_unassign(client, list.native) {
        rd_kafka_error_destroy(error)
      }
    } else {
      _ = rd_kafka_assign(client, nil)
    }
  }
}
