/// A parsed fetch, and its wait for data. One for each connection, reused: a connection has one fetch at a time.
final class FetchWait {
  struct PartitionRequest {
    let index: Int32
    let partition: Partition?
    let offset: Int64
    let bytesMax: Int
    let leaderEpoch: Int32
  }

  struct TopicRequest {
    let name: String
    var partitions: Range<Int>
  }

  unowned let connection: ConnectionHandler
  var topics: [TopicRequest] = []
  var partitions: [PartitionRequest] = []
  var reply = ReplyContext()
  var bytesMin = 0
  var bytesMax = 0
  /// Bytes appended to the partitions since the wait began, with what was there before.
  var bytesSeen = 0
  var deadlineNanoseconds: UInt64 = 0
  /// In the partitions' lists and in the broker's list of deadlines.
  var isWaiting = false
  /// In the broker's list of waits to be answered at the end of this burst.
  var isReady = false

  init(connection: ConnectionHandler) { self.connection = connection }

  func clear() {
    topics.removeAll(keepingCapacity: true)
    partitions.removeAll(keepingCapacity: true)
    bytesSeen = 0
  }
}
