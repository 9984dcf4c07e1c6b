import CMessages
import Events
import Foundation
import Testing

/// The reader that goes over the bytes in place, held against protobuf-c's own.
@Suite struct ProtobufOracleTests {
  private struct Value: Equatable, CustomStringConvertible {
    var name: [UInt8]
    var kind: UInt32
    var text: [UInt8]
    var bits: UInt64
    var description: String { "\(String(decoding: name, as: UTF8.self)) \(kind) \(text) \(bits)" }
  }

  private func inPlace(_ bytes: [UInt8]) -> [Value]? {
    var limits = mr_limits(values_max: 4096, text_bytes_max: 16384, id_bytes_max: 1024)
    let fields = UnsafeMutablePointer<mr_field>.allocate(capacity: 4096)
    fields.initialize(repeating: mr_field(), count: 4096)
    defer { fields.deallocate() }
    var event = mr_event()
    event.fields = fields
    var problem = mr_problem()
    return bytes.withUnsafeBytes { raw -> [Value]? in
      let base = raw.baseAddress?.assumingMemoryBound(to: UInt8.self)
      guard mr_event_read(base, bytes.count, &limits, &event, &problem) == MR_STATUS_OK else { return nil }
      return (0..<Int(event.field_count)).compactMap { i in
        let field = fields[i]
        guard field.kind != UInt8(MR_KIND_ABSENT.rawValue) else { return nil }
        return Value(
          name: Array(UnsafeRawBufferPointer(start: field.name, count: Int(field.name_length))), kind: UInt32(field.kind),
          text: field.kind == UInt8(MR_KIND_TEXT.rawValue)
            ? Array(UnsafeRawBufferPointer(start: field.text, count: Int(field.text_length))) : [],
          bits: field.kind == UInt8(MR_KIND_NUMBER.rawValue)
            ? field.number.bitPattern : field.kind == UInt8(MR_KIND_TEXT.rawValue) ? 0 : UInt64(bitPattern: field.integer))
      }
    }
  }

  private func unpacked(_ bytes: [UInt8]) -> [Value]? {
    guard let message = millrace__event__unpack(nil, bytes.count, bytes) else { return nil }
    defer { millrace__event__free_unpacked(message, nil) }
    func text(_ pointer: UnsafePointer<CChar>?) -> [UInt8] { pointer.map { Array(UnsafeRawBufferPointer(start: $0, count: strlen($0))) } ?? [] }
    var values: [Value] = []
    for i in 0..<message.pointee.n_features {
      guard let feature = message.pointee.features[i]?.pointee else { continue }
      let name = text(feature.name)
      for t in 0..<feature.n_texts { values.append(Value(name: name, kind: 1, text: text(feature.texts[t]), bits: 0)) }
      for t in 0..<feature.n_integers { values.append(Value(name: name, kind: 2, text: [], bits: UInt64(bitPattern: feature.integers[t]))) }
      switch feature.value_case {
      case MILLRACE__FEATURE__VALUE_TEXT: values.append(Value(name: name, kind: 1, text: text(feature.text), bits: 0))
      case MILLRACE__FEATURE__VALUE_INTEGER: values.append(Value(name: name, kind: 2, text: [], bits: UInt64(bitPattern: feature.integer)))
      case MILLRACE__FEATURE__VALUE_NUMBER: values.append(Value(name: name, kind: 3, text: [], bits: feature.number.bitPattern))
      case MILLRACE__FEATURE__VALUE_FLAG: values.append(Value(name: name, kind: 4, text: [], bits: feature.flag != 0 ? 1 : 0))
      default: break
      }
    }
    return values
  }

  @Test func agreeOnRecords() throws {
    for record in FlightLikeRecords(form: .protobuf).records {
      let expected = try #require(unpacked(record))
      #expect(expected.count == 19)
      #expect(inPlace(record) == expected)
    }
  }

  /// Records with bytes changed: where both read one, they read the same.
  @Test(arguments: 1...8 as ClosedRange<UInt64>)
  func agreeOnDamagedRecords(seed: UInt64) {
    var state = seed
    func random(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int((state >> 33) % UInt64(bound))
    }
    var bothRead = 0
    for record in FlightLikeRecords(form: .protobuf, count: 200, seed: seed).records {
      var damaged = record
      for _ in 0...random(2) { damaged[random(damaged.count)] = UInt8(random(256)) }
      guard let ours = inPlace(damaged), let theirs = unpacked(damaged) else { continue }
      // protobuf-c's strings end at a zero byte, and its order of lists and oneof is its own.
      if damaged.contains(0) && ours.contains(where: { $0.text.contains(0) || $0.name.contains(0) }) { continue }
      bothRead += 1
      #expect(ours == theirs, "seed \(seed)")
    }
    #expect(bothRead > 20, "seed \(seed)")
  }
}

@Suite struct ArenaTests {
  @Test func isBoundedAndReused() throws {
    let arena = try #require(mr_arena_create(1 << 20))
    defer { mr_arena_destroy(arena) }
    for _ in 0..<3 {
      var taken = 0
      while let piece = mr_arena_take(arena, 1000) {
        #expect(UInt(bitPattern: piece) % 16 == 0)
        memset(piece, 1, 1000)
        taken += 1
      }
      #expect(taken == (1 << 20) / 1008)
      #expect(mr_arena_is_exhausted(arena))
      mr_arena_reset(arena)
      #expect(!mr_arena_is_exhausted(arena))
      #expect(mr_arena_used(arena) == 0)
    }
    #expect(mr_arena_take(arena, .max) == nil)
    #expect(mr_arena_take(arena, 0) != nil)
  }
}
