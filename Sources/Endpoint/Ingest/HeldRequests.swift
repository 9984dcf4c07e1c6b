import Events

/// Requests of one stream that arrived while Kafka took nothing, oldest first, and how far the first one got. Owned by one thread.
final class HeldRequests {
  @exclusivity(unchecked) private var buffer: [UInt8] = []
  /// Where each request ends.
  @exclusivity(unchecked) private var ends: [Int] = []
  @exclusivity(unchecked) private var firstIndex = 0
  /// The first request's entry in the ledger, once it was begun.
  @exclusivity(unchecked) var request: AckLedger.Index?
  /// The record that the sink did not take, when it is in the ledger already.
  @exclusivity(unchecked) var record: AckLedger.Index?
  /// Where that record begins to be looked for (`PublishRequestReader.place`).
  @exclusivity(unchecked) var place = 0

  init() {}

  var isEmpty: Bool { firstIndex == ends.count }
  /// Bytes that are kept, with those that were used already.
  var bytes: Int { buffer.count }

  func append(_ request: UnsafeRawBufferPointer) {
    buffer.append(contentsOf: request)
    ends.append(buffer.count)
  }

  /// The first request; borrowed while nothing is appended or removed.
  func withFirst<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result? {
    guard !isEmpty else { return nil }
    let start = firstIndex == 0 ? 0 : ends[firstIndex - 1]
    let end = ends[firstIndex]
    return buffer.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[start..<end])) }
  }

  /// Forgets the first request. Memory is given back when none is left: until then nothing more is read from the stream.
  func removeFirst() {
    firstIndex += 1
    request = nil
    record = nil
    place = 0
    if isEmpty { removeAll() }
  }

  func removeAll() {
    buffer = []
    ends = []
    firstIndex = 0
    request = nil
    record = nil
    place = 0
  }
}
