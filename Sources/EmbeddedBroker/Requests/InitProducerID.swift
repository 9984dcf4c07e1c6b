import Logging

extension Broker {
  /// InitProducerId v0...4: a fresh id with epoch 0, for idempotence (KIP-98). Transactions are declined.
  func initProducerID(_ reader: inout WireReader, _ request: Request) throws(WireError) {
    let transactionalID = try reader.nullableString("transactional_id")
    _ = try reader.int32("transaction_timeout_ms")
    if request.version >= 3 {
      _ = try reader.int64("producer_id")
      _ = try reader.int16("producer_epoch")
    }
    try reader.tags()
    var error = ErrorCode.none
    var id: Int64 = -1
    if transactionalID != nil {
      error = .invalidRequest
      logger.warning("a client asked for transactions, which are not supported", metadata: ["client": "\(request.connection.remote)"])
    } else {
      do throws(StorageError) {
        id = try producerIDs.allocate()
      } catch let failure {
        logger.error("could not allocate a producer id", metadata: ["error": "\(failure)"])
        // Retriable for clients.
        error = .coordinatorNotAvailable
      }
    }
    request.reply { writer in
      writer.int32(0)
      writer.error(error)
      writer.int64(id)
      writer.int16(error == .none ? 0 : -1)
      writer.tags()
    }
  }
}
