// Hot: `patch`. No allocation per event.
public import Events
internal import Glibc
public import Model

/// Events encoded in advance, at least 10,000 distinct ones, so that the generator is not the
/// bottleneck and no cache is flattered. Each event gets its own id by writing it over the bytes
/// of a body in place. Owned by the thread that sends.
public final class EventBodies {
  public static let countMin = 10_000
  /// Ids are a mark of eight bytes, the same for a run, and the event's index in sixteen hex digits.
  public static let markLength = 8
  static let idLength = markLength + 16

  /// One event ready to be produced; valid until the next `patch`.
  public struct Event {
    public let value: UnsafeRawBufferPointer
    public let key: UnsafeRawBufferPointer
    public let partition: Int32
  }

  private struct Place {
    var start: Int
    var count: Int
    var id: Int
    var keyStart: Int
    var keyCount: Int
    var partition: Int32
  }

  public let form: EventForm
  let mark: [UInt8]
  private let places: [Place]
  private let bytes: UnsafeMutableRawBufferPointer

  /// - Parameters:
  ///   - specification: decides the features' names and kinds.
  ///   - partitions: of the features topic, for the key's partition.
  ///   - mark: from `runMark`.
  public init(
    _ specification: ModelSpecification, form: EventForm, count: Int = 16_384, partitions: Int, mark: [UInt8], seed: UInt64
  ) {
    precondition(mark.count == Self.markLength && Int32(mark[0]) == Self.markStart, "mark \(mark)")
    precondition(count > 0 && partitions > 0)
    self.form = form
    self.mark = mark
    var random = SplitMix(state: seed)
    let writer = EventWriter(form: form)
    let placeholder = String(decoding: mark, as: UTF8.self) + String(repeating: "0", count: 16)
    var all: [UInt8] = []
    var places: [Place] = []
    places.reserveCapacity(count)
    for index in 0..<count {
      let key = "k\(index)"
      writer.begin(id: placeholder, key: key)
      for feature in specification.features { Self.write(feature, writer, &random) }
      let record = writer.finish()
      let id = Self.find(Self.word(mark), in: record) ?? 0
      let start = all.count
      all += record
      let keyStart = all.count
      all += key.utf8
      places.append(
        Place(
          start: start, count: record.count, id: start + id, keyStart: keyStart, keyCount: key.utf8.count,
          partition: Int32(truncatingIfNeeded: partition(forKey: key, count: partitions))))
    }
    self.places = places
    bytes = .allocate(byteCount: all.count, alignment: 16)
    bytes.copyBytes(from: all)
  }

  deinit { bytes.deallocate() }

  public var count: Int { places.count }
  public var bytesPerEvent: Double { Double(places.reduce(0) { $0 + $1.count }) / Double(places.count) }

  /// The body for this event with its id in it.
  @inline(__always)
  public func patch(_ index: Int) -> Event {
    let place = places[index % places.count]
    Self.writeHex(UInt64(index), bytes.baseAddress.unsafelyUnwrapped + place.id + Self.markLength)
    return Event(
      value: UnsafeRawBufferPointer(rebasing: bytes[place.start..<place.start + place.count]),
      key: UnsafeRawBufferPointer(rebasing: bytes[place.keyStart..<place.keyStart + place.keyCount]),
      partition: place.partition)
  }

  /// The key of this event and its partition, as `patch` gives them.
  @inline(__always)
  func key(_ index: Int) -> (bytes: UnsafeRawBufferPointer, partition: Int32) {
    let place = places[index % places.count]
    return (UnsafeRawBufferPointer(rebasing: bytes[place.keyStart..<place.keyStart + place.keyCount]), place.partition)
  }

  /// The index of the event whose id stands in these bytes; nil when none of this run does.
  @inline(__always)
  static func index(in record: UnsafeRawBufferPointer, mark: UInt64) -> Int? {
    guard let found = find(mark, in: record), found + idLength <= record.count, let base = record.baseAddress else { return nil }
    var index: UInt64 = 0
    for position in (found + markLength)..<(found + idLength) {
      let digit = base.load(fromByteOffset: position, as: UInt8.self)
      switch digit {
      case 0x30...0x39: index = index << 4 | UInt64(digit - 0x30)
      case 0x61...0x66: index = index << 4 | UInt64(digit - 0x61 + 10)
      default: return nil
      }
    }
    return index <= UInt64(Int.max) ? Int(index) : nil
  }

  /// The mark's bytes as one word, as `index(in:mark:)` compares them.
  static func word(_ mark: [UInt8]) -> UInt64 { mark.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) } }

  /// Where the mark begins. It begins with a byte that is rare in records, which the C library finds fast.
  @inline(__always)
  private static func find(_ mark: UInt64, in record: UnsafeRawBufferPointer) -> Int? {
    guard let base = record.baseAddress else { return nil }
    var from = 0
    while from + markLength <= record.count {
      guard let found = memchr(base + from, markStart, record.count - from - markLength + 1) else { return nil }
      let at = UnsafeRawPointer(found) - base
      if base.loadUnaligned(fromByteOffset: at, as: UInt64.self) == mark { return at }
      from = at + 1
    }
    return nil
  }

  private static let markStart = Int32(UInt8(ascii: "~"))

  /// A mark that an earlier run hardly had.
  public static func runMark(seed: UInt64) -> [UInt8] {
    var random = SplitMix(state: seed)
    return [UInt8(ascii: "~")] + (0..<7).map { _ in Array("abcdefghijklmnopqrstuvwxyz0123456789".utf8)[Int(random.next() % 36)] }
  }

  /// Sixteen lower-case hex digits, most significant first.
  @inline(__always)
  static func writeHex(_ value: UInt64, _ to: UnsafeMutableRawPointer) {
    for position in 0..<16 {
      let digit = UInt8(truncatingIfNeeded: value >> UInt64(60 - 4 * position)) & 15
      to.storeBytes(of: digit < 10 ? 0x30 + digit : 0x61 + digit - 10, toByteOffset: position, as: UInt8.self)
    }
  }

  /// Categorical features have few frequent and many rare values, as real ones do.
  private static func write(_ feature: Feature, _ writer: EventWriter, _ random: inout SplitMix) {
    switch feature.kind {
    case .categorical:
      let kinds = 1 << (2 + hash64(feature.name, seed: 1) % 11)  // 4 to 4,096, by the name
      let rank = Int(pow(Double(kinds), random.unit())) - 1
      writer.text(feature.name, "v\(max(0, rank))")
    case .numeric:
      writer.number(feature.name, (random.unit() * 1_000).rounded() / 10)
    case .vector:
      writer.numbers(feature.name, (0..<feature.valuesMax).map { _ in (random.unit() * 1_000).rounded() / 10 })
    case .tensor:
      guard let place = feature.tensor else { return }
      switch place.element {
      case .text: for _ in 0..<place.count { writer.text(feature.name, "v\(random.next() % 64)") }
      case .boolean: writer.numbers(feature.name, (0..<place.count).map { _ in Double(random.next() & 1) })
      case .float32, .float64, .float16, .bfloat16:
        writer.numbers(feature.name, (0..<place.count).map { _ in (random.unit() * 1_000).rounded() / 10 })
      default: writer.numbers(feature.name, (0..<place.count).map { _ in Double(random.next() % 64) })
      }
    }
  }
}
