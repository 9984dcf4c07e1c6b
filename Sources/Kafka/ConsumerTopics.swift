// Hot: `index(of:)` runs once per record.
internal import CKafka

/// The topics that a consumer met, by a small index. It holds a reference to each librdkafka topic
/// object, so that an address always means the same topic and a record's topic is told by
/// comparing pointers.
final class ConsumerTopics {
  private let client: OpaquePointer
  private(set) var names: [String] = []
  private var handles: UnsafeMutablePointer<OpaquePointer>
  private var capacity = 8
  private var count = 0
  private var last = 0

  init(client: OpaquePointer) {
    self.client = client
    handles = .allocate(capacity: capacity)
  }

  deinit { handles.deallocate() }

  /// Gives the references back; before the client is destroyed.
  func releaseAll() {
    for index in 0..<count { rd_kafka_topic_destroy(handles[index]) }
    count = 0
  }

  func handle(_ index: Int) -> OpaquePointer {
    precondition(index >= 0 && index < count, "topic \(index) of \(count)")
    return handles[index]
  }

  /// Registers the name when it is new; nil when librdkafka refuses it.
  func index(of name: String) -> Int? {
    if let known = names.firstIndex(of: name) { return known }
    guard let handle = rd_kafka_topic_new(client, name, nil) else { return nil }
    if count == capacity {
      let larger = UnsafeMutablePointer<OpaquePointer>.allocate(capacity: capacity * 2)
      larger.moveInitialize(from: handles, count: count)
      handles.deallocate()
      handles = larger
      capacity *= 2
    }
    (handles + count).initialize(to: handle)
    names.append(name)
    count += 1
    return count - 1
  }

  func index(of topic: OpaquePointer) -> Int {
    if last < count && handles[last] == topic { return last }
    for index in 0..<count where handles[index] == topic {
      last = index
      return index
    }
    // A topic that only the group's subscription knows: once per topic.
    let name = String(cString: rd_kafka_topic_name(topic))
    last = index(of: name) ?? 0
    return last
  }
}
