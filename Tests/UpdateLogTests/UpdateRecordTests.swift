import Model
import Testing

@testable import UpdateLog

@Suite struct UpdateRecordTests {
  let specification = linear()

  private func parse(_ bytes: [UInt8]) throws -> UpdateRecordView {
    // The view borrows: keep the bytes where they are for the length of the test.
    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count + 1, alignment: 8)
    // Odd addresses, as a consumer's payloads have them.
    let odd = UnsafeMutableRawBufferPointer(rebasing: copy[1...])
    odd.copyBytes(from: bytes)
    return try UpdateRecordView.parse(UnsafeRawBufferPointer(odd))
  }

  private func sample() -> ValidationSample {
    var sample = ValidationSample()
    sample.add(sum: 0.5, label: 1, weight: 1, loss: .logistic)
    sample.add(sum: -2, label: 0, weight: 2, loss: .logistic)
    sample.add(sum: .nan, label: 0, weight: 2, loss: .logistic)
    return sample
  }

  private var header: UpdateHeader {
    UpdateHeader(
      kind: .update, specHash: 0x1234, epoch: 7, sourcePartition: 3, from: 10, to: SourceProgress(offset: 20, featuresTo: 30, labelsTo: 40, batch: 50),
      trainer: 99, basis: (offset: 5, stateHash: 0xABCD), eventTimeFromMilliseconds: 100, eventTimeThroughMilliseconds: 200,
      labelProducedNanoseconds: 777, examples: 6)
  }

  @Test func updateComesBack() throws {
    let writer = UpdateRecordWriter(capacityBytes: 1)
    let ids: [UInt64] = [0, 5, .max]
    let bytes = Array(writer.update(header, ids: ids, gradients: [1, .nan, -3], squares: [1, 4, 9], count: 3, validation: sample()))
    let view = try parse(bytes)
    var expected = header
    expected.rowCount = 3
    #expect(view.header == expected)
    #expect(view.header.basis.offset == 5 && view.header.basis.stateHash == 0xABCD)
    #expect(view.header.eventTime == 100...200)
    #expect((0..<3).map { view.ids[$0] } == ids)
    #expect(view.gradientSums[0] == 1 && view.gradientSums[1].isNaN && view.gradientSums[2] == -3)
    #expect((0..<3).map { view.squareSums[$0] } == [1, 4, 9])
    #expect(view.counts.count == 0 && !view.hasCounts)
    #expect(view.validation == sample())
    #expect(view.validation?.examples == 2)
    #expect(view.wholeChecksum == bytes.withUnsafeBytes { UpdateRecordView.checksum($0) })
  }

  @Test func rowByRowAndInFewerRowsIsTheSame() throws {
    let writer = UpdateRecordWriter()
    let whole = Array(writer.update(header, ids: [2, 4], gradients: [1, 2], squares: [3, 4], count: 2, validation: sample()))
    writer.begin(header)
    writer.append(id: 2, gradientSum: 1, squareSum: 3)
    writer.append(id: 4, gradientSum: 2, squareSum: 4)
    writer.append(sample())
    #expect(Array(writer.finish()) == whole)
    let fewer = writer.update(header, rows: 10, validation: sample()) { ids, g, g2 in
      ids[0] = 2
      ids[1] = 4
      g[0] = 1
      g[1] = 2
      g2[0] = 3
      g2[1] = 4
      return 2
    }
    #expect(Array(fewer) == whole)
    let counts = Array(writer.counts(header, rows: 9) { ids, counts in
      ids[0] = 8
      counts[0] = -5
      return 1
    })
    writer.begin(header)
    writer.append(id: 8, count: -5)
    #expect(Array(writer.finish()) == counts)
    let view = try parse(counts)
    #expect(view.hasCounts && view.counts[0] == -5 && view.ids[0] == 8 && view.gradientSums.count == 0)
  }

  @Test func controlRecordsComeBack() throws {
    let writer = UpdateRecordWriter()
    let spec = try parse(Array(writer.spec(specification)))
    #expect(spec.header.kind == .spec && spec.header.specHash == specification.hash)
    #expect(spec.control == .spec(semanticsVersion: updateLogSemanticsVersion, canonicalBytes: specification.canonicalBytes))
    let payloads: [(UpdateKind, ControlPayload)] = [
      (.reset, .reset(checkpoint: "før")), (.freeze, .none), (.beacon, .none), (.expire, .expire(slice: 3, slices: 8, beforeMilliseconds: -5)),
      (.thaw, .thaw([ThawSource(partition: 1), ThawSource(partition: 2, skipTo: SourceProgress(offset: 7, featuresTo: 8, labelsTo: 9, batch: 10))])),
      (.thaw, .thaw([])),
    ]
    for (kind, payload) in payloads {
      let view = try parse(Array(writer.control(UpdateHeader(kind: kind, specHash: 1), payload)))
      #expect(view.header.kind == kind)
      #expect(view.control == payload)
    }
    let skip = UpdateHeader(kind: .skip, specHash: 1, sourcePartition: 0, from: 1, to: SourceProgress(offset: 2))
    #expect(try parse(Array(writer.control(skip))).header == skip)
  }

  /// Any single change, any cut, any tail: a typed error, and no trap.
  @Test func noBytesTrap() throws {
    let writer = UpdateRecordWriter()
    var all: [[UInt8]] = [Array(writer.update(header, ids: [1, 2], gradients: [1, 2], squares: [1, 2], count: 2, validation: sample()))]
    all.append(Array(writer.spec(specification)))
    all.append(Array(writer.control(UpdateHeader(kind: .thaw, specHash: 1), .thaw([ThawSource(partition: 1)]))))
    var reasons = Set<String>()
    func tryIt(_ bytes: [UInt8]) {
      bytes.withUnsafeBytes { raw in
        do throws(UpdateRecordError) {
          _ = try UpdateRecordView.parse(raw)
          Issue.record("accepted \(bytes.count) changed bytes")
        } catch {
          reasons.insert(error.reason)
          #expect(!error.description.isEmpty)
        }
      }
    }
    for good in all {
      for cut in 0..<good.count { tryIt(Array(good[..<cut])) }
      tryIt(good + [0])
      for at in good.indices {
        var bad = good
        bad[at] ^= 1 << (at % 8)
        tryIt(bad)
      }
    }
    #expect(reasons.isSuperset(of: ["truncated", "not_a_record", "unknown_format", "checksum", "field"]))
  }

  /// With the checksum made right again, every other check has to hold by itself.
  @Test func changedFieldsBehindARightChecksum() throws {
    let writer = UpdateRecordWriter()
    let good = Array(writer.update(header, ids: [1, 2, 3], gradients: [1, 2, 3], squares: [1, 2, 3], count: 3, validation: sample()))
    var generator = SeededGenerator(seed: 77)
    print("record fuzz: seed 77")
    var parsed = 0
    var reasons = Set<String>()
    for round in 0..<30_000 {
      var bad = round % 4 == 0 ? (0..<140 + generator.below(80)).map { _ in UInt8.random(in: 0...255, using: &generator) } : good
      if round % 4 == 0 { bad.replaceSubrange(0..<8, with: [0x4D, 0x52, 0x55, 0x4C, 1, UInt8(generator.below(10)), UInt8(generator.below(4)), 0]) }
      for _ in 0...generator.below(3) {
        let at = generator.below(bad.count)
        bad[at] = generator.chance(50) ? UInt8.random(in: 0...255, using: &generator) : [0, 1, 0x7F, 0x80, 0xFF][generator.below(5)]
      }
      withUnsafeBytes(of: UInt32(bad.count).littleEndian) { bad.replaceSubrange(8..<12, with: $0) }
      let crc = bad[..<(bad.count - 4)].withUnsafeBytes { UpdateRecordView.checksum($0) }
      withUnsafeBytes(of: crc.littleEndian) { bad.replaceSubrange((bad.count - 4)..., with: $0) }
      bad.withUnsafeBytes { raw in
        do throws(UpdateRecordError) {
          let view = try UpdateRecordView.parse(raw)
          parsed += 1
          // What parsed can be read to the end.
          for i in 0..<view.rowCount { _ = (view.ids[i], view.hasCounts ? 0 : view.gradientSums[i], view.hasCounts ? view.counts[i] : 0) }
          _ = view.validation
          // And applied.
          let replica = ShardReplica(specification: specification, shard: 0)
          _ = replica.apply(view, offset: 0)
        } catch {
          reasons.insert(error.reason)
        }
      }
    }
    #expect(parsed > 100)
    #expect(reasons.isSuperset(of: ["field", "ids_not_ascending", "unknown_kind"]))
  }
}
