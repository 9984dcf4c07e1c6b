// Hot: no allocation once the buffers have grown, but for refusals.
import Events

/// Writes `millrace.PublishAck` messages from a ledger. Owned by one thread and reused.
final class PublishAckWriter {
  private let output = OutputBuffer()
  private let offsets = OutputBuffer()

  /// The ack of a complete request; borrowed until the next call.
  func write(_ request: AckLedger.Index, of ledger: AckLedger) -> UnsafeRawBufferPointer {
    output.removeAll()
    offsets.removeAll()
    append(output, 1 << 3)
    append(output, ledger.sequence(of: request))
    guard ledger.recordCount(of: request) > 0 else { return output.bytes }
    // Partitions are gathered where offsets will be, since a packed field begins with its length.
    var refused = false
    ledger.forEachRecord(of: request) { _, state, partition, _ in
      if state != .delivered { refused = true }
      append(offsets, Self.zigzag(Int64(partition)))
    }
    appendPacked(2)
    ledger.forEachRecord(of: request) { _, _, _, offset in append(offsets, Self.zigzag(offset)) }
    appendPacked(3)
    if refused { appendRefusals(request, ledger) }
    return output.bytes
  }

  private func appendPacked(_ field: UInt64) {
    append(output, field << 3 | 2)
    append(output, UInt64(offsets.count))
    output.append(offsets.bytes)
    offsets.removeAll()
  }

  private func appendRefusals(_ request: AckLedger.Index, _ ledger: AckLedger) {
    var index: UInt64 = 0
    ledger.forEachRecord(of: request) { record, state, _, _ in
      defer { index += 1 }
      guard state != .delivered, let refusal = ledger.refusal(of: record) else { return }
      let problem = OutputBuffer(capacity: 256)
      append(problem, 1, text: refusal.problem.reason)
      append(problem, 2, text: refusal.problem.field)
      append(problem, 3, text: refusal.problem.message)
      let message = OutputBuffer(capacity: 256)
      append(message, 1 << 3)
      append(message, index)
      append(message, 2, bytes: problem.bytes)
      if refusal.isRetryable {
        append(message, 3 << 3)
        append(message, 1)
      }
      append(output, 4, bytes: message.bytes)
    }
  }

  private static func zigzag(_ value: Int64) -> UInt64 { UInt64(bitPattern: (value << 1) ^ (value >> 63)) }

  private func append(_ buffer: OutputBuffer, _ field: UInt64, text: String) {
    if text.isEmpty { return }
    var text = text
    text.withUTF8 { append(buffer, field, bytes: UnsafeRawBufferPointer($0)) }
  }

  private func append(_ buffer: OutputBuffer, _ field: UInt64, bytes: UnsafeRawBufferPointer) {
    append(buffer, field << 3 | 2)
    append(buffer, UInt64(bytes.count))
    buffer.append(bytes)
  }

  @inline(__always)
  private func append(_ buffer: OutputBuffer, _ value: UInt64) {
    let room = buffer.reserve(10).assumingMemoryBound(to: UInt8.self)
    var value = value
    var count = 0
    while value >= 0x80 {
      room[count] = UInt8(truncatingIfNeeded: value) | 0x80
      value >>= 7
      count += 1
    }
    room[count] = UInt8(truncatingIfNeeded: value)
    buffer.advance(count + 1)
  }
}
