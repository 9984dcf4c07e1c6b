/// A topic's settings, under Kafka's names. Values given explicitly are kept as text, as they were given; the ones that this
/// broker acts on are also held parsed.
struct TopicConfiguration: Sendable, Equatable {
  /// What was set explicitly.
  private(set) var overrides: [String: String]
  let segmentBytes: Int
  /// Milliseconds; the active segment is closed when its first record is this old. -1: never.
  let segmentMilliseconds: Int64
  /// For each partition; -1: unlimited.
  let retentionBytes: Int64
  /// -1: unlimited.
  let retentionMilliseconds: Int64
  let messageBytesMax: Int
  /// Compaction is not done; a topic that asks for it keeps everything, which any compacted topic's reader must
  /// cope with.
  let isCompacted: Bool

  struct Problem: Error { let message: String }

  static let segmentBytesRange = 16 * 1024 ... 1 << 31
  static let messageBytesRange = 1024 ... 1 << 30

  /// How a known name's value is read.
  private enum Form {
    case integer(ClosedRange<Int64>)
    case number
    case boolean
    case choice([String])
    case list([String])
    case text
  }

  /// Kafka's topic settings. Those that a single development node has no use for are accepted, checked and kept.
  private static let forms: [String: Form] = [
    "cleanup.policy": .list(["delete", "compact"]),
    "compression.type": .choice(["producer"]),
    "delete.retention.ms": .integer(0...Int64.max),
    "file.delete.delay.ms": .integer(0...Int64.max),
    "flush.messages": .integer(1...Int64.max),
    "flush.ms": .integer(0...Int64.max),
    "index.interval.bytes": .integer(0...Int64(Int32.max)),
    "max.compaction.lag.ms": .integer(1...Int64.max),
    "max.message.bytes": .integer(Int64(messageBytesRange.lowerBound)...Int64(messageBytesRange.upperBound)),
    "message.timestamp.type": .choice(["CreateTime"]),
    "message.timestamp.difference.max.ms": .integer(0...Int64.max),
    "message.timestamp.before.max.ms": .integer(0...Int64.max),
    "message.timestamp.after.max.ms": .integer(0...Int64.max),
    "message.format.version": .text,
    "message.downconversion.enable": .boolean,
    "min.cleanable.dirty.ratio": .number,
    "min.compaction.lag.ms": .integer(0...Int64.max),
    "min.insync.replicas": .integer(1...1),
    "preallocate": .boolean,
    "retention.bytes": .integer(-1...Int64.max),
    "retention.ms": .integer(-1...Int64.max),
    "segment.bytes": .integer(Int64(segmentBytesRange.lowerBound)...Int64(segmentBytesRange.upperBound)),
    "segment.index.bytes": .integer(4...Int64(Int32.max)),
    "segment.jitter.ms": .integer(0...Int64.max),
    "segment.ms": .integer(1...Int64.max),
    "unclean.leader.election.enable": .boolean,
  ]

  init(overrides: [String: String], defaults: BrokerSettings) throws(Problem) {
    for (name, value) in overrides {
      guard let form = Self.forms[name] else { throw Problem(message: "unknown topic setting '\(name)'") }
      if let expected = Self.violation(of: form, by: value) {
        throw Problem(message: "\(name) is '\(value)', expected \(expected)")
      }
    }
    self.overrides = overrides
    func integer(_ name: String, _ fallback: Int64) -> Int64 { overrides[name].flatMap { Int64($0) } ?? fallback }
    segmentBytes = Int(integer("segment.bytes", Int64(defaults.segmentBytes)))
    segmentMilliseconds = integer("segment.ms", -1)
    retentionBytes = integer("retention.bytes", Int64(defaults.retentionBytes))
    retentionMilliseconds = integer("retention.ms", defaults.retentionMilliseconds)
    messageBytesMax = Int(integer("max.message.bytes", Int64(defaults.messageBytesMax)))
    isCompacted = overrides["cleanup.policy"]?.contains("compact") ?? false
  }

  /// What the value should have been; nil when it is fine.
  private static func violation(of form: Form, by value: String) -> String? {
    switch form {
    case .integer(let range):
      guard let number = Int64(value), range.contains(number) else {
        return "an integer from \(range.lowerBound) to \(range.upperBound)"
      }
    case .number: if Double(value) == nil { return "a number" }
    case .boolean: if value != "true" && value != "false" { return "true or false" }
    case .choice(let choices): if !choices.contains(value) { return choices.joined(separator: " or ") + " (all that the embedded broker does)" }
    case .list(let choices):
      let parts = value.split(separator: ",").map { $0.filter { $0 != " " } }
      if parts.isEmpty || !parts.allSatisfy(choices.contains) { return "a list of \(choices.joined(separator: ", "))" }
    case .text: break
    }
    return nil
  }

  /// Name, value and whether it was set explicitly, for DescribeConfigs.
  var described: [(name: String, value: String, isOverride: Bool)] {
    var values: [String: String] = [
      "cleanup.policy": "delete", "compression.type": "producer", "max.message.bytes": String(messageBytesMax),
      "message.timestamp.type": "CreateTime", "min.insync.replicas": "1", "retention.bytes": String(retentionBytes),
      "retention.ms": String(retentionMilliseconds), "segment.bytes": String(segmentBytes),
      "segment.ms": String(segmentMilliseconds),
    ]
    for (name, value) in overrides { values[name] = value }
    return values.sorted { $0.key < $1.key }.map { ($0.key, $0.value, overrides[$0.key] != nil) }
  }
}
