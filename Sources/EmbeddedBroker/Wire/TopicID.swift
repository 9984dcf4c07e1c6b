/// A topic's UUID, made when the topic is created (KIP-516).
struct TopicID: Hashable, Sendable {
  let high: UInt64
  let low: UInt64

  static let zero = TopicID(high: 0, low: 0)

  /// Random, with the version and variant bits of a version 4 UUID.
  static func random() -> TopicID {
    TopicID(
      high: UInt64.random(in: .min ... .max) & ~0xF000 | 0x4000,
      low: UInt64.random(in: .min ... .max) & ~(0xC0 << 56) | 0x80 << 56)
  }
}
