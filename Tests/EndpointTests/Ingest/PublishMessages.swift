import Events
import Foundation
import Model

/// Ingest messages by hand: what a client with generated code would send, and what it would read.
struct PublishRequest {
  var sequence: UInt64 = 0
  var contentType = ""
  var messages: [[UInt8]] = []
  var records: [[UInt8]] = []

  var bytes: [UInt8] {
    var out: [UInt8] = []
    if sequence > 0 { out += Self.varint(1 << 3) + Self.varint(sequence) }
    if !contentType.isEmpty { out += Self.slice(2, Array(contentType.utf8)) }
    for message in messages { out += Self.slice(3, message) }
    for record in records { out += Self.slice(4, record) }
    return out
  }

  static func varint(_ value: UInt64) -> [UInt8] {
    var value = value
    var out: [UInt8] = []
    while value >= 0x80 {
      out.append(UInt8(truncatingIfNeeded: value) | 0x80)
      value >>= 7
    }
    return out + [UInt8(value)]
  }

  static func slice(_ field: UInt64, _ bytes: [UInt8]) -> [UInt8] { varint(field << 3 | 2) + varint(UInt64(bytes.count)) + bytes }
}

struct PublishAck: Equatable {
  struct Refusal: Equatable {
    var index = 0
    var reason = ""
    var field = ""
    var message = ""
    var isRetryable = false
  }

  var sequence: UInt64 = 0
  var partitions: [Int64] = []
  var offsets: [Int64] = []
  var refusals: [Refusal] = []

  /// Nil for what is no ack.
  init?(_ bytes: [UInt8]) {
    guard let fields = Fields(bytes) else { return nil }
    for field in fields.all {
      switch (field.number, field.slice) {
      case (1, nil): sequence = field.value
      case (2, let slice?): partitions = Self.packed(slice)
      case (3, let slice?): offsets = Self.packed(slice)
      case (4, let slice?):
        guard let refusal = Self.refusal(slice) else { return nil }
        refusals.append(refusal)
      default: return nil
      }
    }
  }

  private static func refusal(_ bytes: [UInt8]) -> Refusal? {
    var refusal = Refusal()
    guard let fields = Fields(bytes) else { return nil }
    for field in fields.all {
      switch (field.number, field.slice) {
      case (1, nil): refusal.index = Int(field.value)
      case (3, nil): refusal.isRetryable = field.value == 1
      case (2, let slice?):
        guard let problem = Fields(slice) else { return nil }
        for part in problem.all {
          let text = String(decoding: part.slice ?? [], as: UTF8.self)
          switch part.number {
          case 1: refusal.reason = text
          case 2: refusal.field = text
          case 3: refusal.message = text
          default: return nil
          }
        }
      default: return nil
      }
    }
    return refusal
  }

  private static func packed(_ bytes: [UInt8]) -> [Int64] {
    var at = 0
    var out: [Int64] = []
    while at < bytes.count, let value = Fields.varint(bytes, &at) { out.append(Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)) }
    return out
  }
}

/// The top level of a protobuf message of varints and slices.
struct Fields {
  struct Field {
    var number: Int
    var value: UInt64 = 0
    var slice: [UInt8]?
  }
  var all: [Field] = []

  init?(_ bytes: [UInt8]) {
    var at = 0
    while at < bytes.count {
      guard let tag = Self.varint(bytes, &at), let value = Self.varint(bytes, &at) else { return nil }
      if tag & 7 == 0 {
        all.append(Field(number: Int(tag >> 3), value: value))
      } else {
        guard tag & 7 == 2, value <= UInt64(bytes.count - at) else { return nil }
        all.append(Field(number: Int(tag >> 3), slice: Array(bytes[at..<at + Int(value)])))
        at += Int(value)
      }
    }
  }

  static func varint(_ bytes: [UInt8], _ at: inout Int) -> UInt64? {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while at < bytes.count, shift < 70 {
      let byte = bytes[at]
      at += 1
      value |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 { return value }
      shift += 7
    }
    return nil
  }
}

/// Events and labels as protobuf messages.
enum SampleRecords {
  static let model = ModelSpecification(
    name: "clicks", family: .linear(loss: .logistic), features: [.categorical("city"), .numeric("temp")])

  static func event(_ id: String, key: String? = nil, city: String = "Oslo", label: Double? = nil, form: EventForm = .protobuf) -> [UInt8] {
    let writer = EventWriter(form: form)
    writer.begin(id: id, key: key, eventTimeMilliseconds: 1_700_000_000_000)
    writer.text("city", city)
    writer.number("temp", 12.5)
    if let label { writer.outcome(label: label) }
    return withExtendedLifetime(writer) { Array(writer.finish()) }
  }

  static func label(_ id: String, _ value: Double = 1, form: EventForm = .protobuf) -> [UInt8] {
    let writer = LabelWriter(form: form)
    return withExtendedLifetime(writer) { Array(writer.write(id: id, eventTimeMilliseconds: 1_700_000_001_000, label: value)) }
  }
}
