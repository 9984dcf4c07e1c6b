import Events
import Testing

@Suite struct PredictionTests {
  private let encoder = PredictionEncoder(model: "fl\"ights", version: 3, arm: "online")

  private func scored(_ form: EventForm, scores: [Float], position: [Int64], labelsThrough: Int64) -> [UInt8] {
    let output = OutputBuffer()
    let id = utf8("u\"1\u{E9}")
    id.withUnsafeBytes { id in
      scores.withUnsafeBufferPointer { scores in
        position.withUnsafeBufferPointer { position in
          encoder.score(form: form, id: id, from: 12, to: 13, scores: scores, position: position, labelsThrough: labelsThrough, into: output)
        }
      }
    }
    return Array(output.bytes)
  }

  @Test(arguments: EventForm.allCases, [[0.3125], [0.1, 1e-38, 3.4e38], Array(repeating: 0.5, count: 300)] as [[Float]])
  func comesBack(form: EventForm, scores: [Float]) throws {
    for (position, labelsThrough) in [([101, 99], 1_370_000_000_000), ([], Int64.min), ([0, .max], -5)] as [([Int64], Int64)] {
      let record = scored(form, scores: scores, position: position, labelsThrough: labelsThrough)
      let reader = PredictionReader()
      for header in [nil, "\(form.contentType)"] as [String?] {
        let ok = record.withUnsafeBytes { bytes in
          header.map { header in utf8(header).withUnsafeBytes { reader.read(bytes, contentType: $0) } } ?? reader.read(bytes)
        }
        #expect(ok, "\(reader.problem())")
        record.withUnsafeBytes { bytes in
          guard reader.read(bytes) else { return }
          let prediction = reader.prediction
          #expect(prediction.form == form)
          #expect(prediction.kind == .scores)
          #expect(String(decoding: prediction.id, as: UTF8.self) == "u\"1\u{E9}")
          #expect(String(decoding: prediction.model, as: UTF8.self) == "fl\"ights")
          #expect(prediction.version == 3)
          #expect(String(decoding: prediction.arm, as: UTF8.self) == "online")
          #expect(prediction.from == 12 && prediction.to == 13)
          #expect(Array(prediction.scores) == scores)
          #expect(Array(prediction.position) == position)
          #expect(prediction.labelsThroughMilliseconds == labelsThrough)
        }
      }
    }
  }

  @Test func theJSONIsTheDocumentedOne() {
    #expect(
      String(decoding: scored(.json, scores: [0.3125], position: [101, 99], labelsThrough: 1_370_000_000_000), as: UTF8.self)
        == #"{"id":"u\"1é","model":"fl\"ights","version":3,"arm":"online","from":12,"to":13,"score":0.3125,"position":[101,99],"labels_through":1370000000000}"#
    )
  }

  @Test(arguments: EventForm.allCases)
  func stubsAndGapsComeBack(form: EventForm) {
    let output = OutputBuffer()
    let reader = PredictionReader()
    encoder.error(
      form: form, from: 12, to: 13, EventProblem(reason: .wrongType, field: "temp", message: "a \"text\""), into: output)
    #expect(reader.read(output.bytes))
    var prediction = reader.prediction
    #expect(prediction.kind == .error && prediction.from == 12 && prediction.to == 13 && prediction.scores.isEmpty)
    #expect(String(decoding: prediction.errorReason, as: UTF8.self) == "wrong_type")
    #expect(String(decoding: prediction.errorField, as: UTF8.self) == "temp")
    #expect(String(decoding: prediction.errorMessage, as: UTF8.self) == "a \"text\"")
    output.removeAll()
    encoder.gap(form: form, from: 0, to: 1000, reason: "shed", into: output)
    #expect(reader.read(output.bytes))
    prediction = reader.prediction
    #expect(prediction.kind == .gap && prediction.from == 0 && prediction.to == 1000)
    #expect(String(decoding: prediction.gapReason, as: UTF8.self) == "shed")
  }

  @Test(arguments: EventForm.allCases)
  func everyPrefixIsReadOrRefused(form: EventForm) {
    let whole = scored(form, scores: [0.1, 0.2], position: [5, 6], labelsThrough: 9)
    let reader = PredictionReader()
    for count in 0..<whole.count {
      // In memory of its own, so that a read beyond the end shows under a sanitizer.
      let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 1)
      bytes.copyBytes(from: whole[..<count])
      if !reader.read(UnsafeRawBufferPointer(bytes)) { #expect(!reader.problem().message.isEmpty) }
      bytes.deallocate()
    }
  }
}

@Suite struct PredictionTilingTests {
  @Test func theFirstInTheLogWins() {
    var tiling = PredictionTiling()
    #expect(tiling.decide(from: 5, to: 6) == .accept)
    #expect(tiling.decide(from: 6, to: 7) == .accept)
    #expect(tiling.decide(from: 5, to: 6) == .duplicate)
    #expect(tiling.decide(from: 0, to: 7) == .duplicate)
    #expect(tiling.decide(from: 7, to: 7) == .duplicate)
    #expect(tiling.decide(from: 8, to: 9) == .missing(from: 7))
    #expect(tiling.next == 7)
    #expect(tiling.decide(from: 7, to: 8) == .accept)
    #expect(tiling.decide(from: 6, to: 10) == .partly(from: 8))
    #expect(tiling.next == 10)
    tiling.skip(to: 12)
    #expect(tiling.decide(from: 12, to: 13) == .accept)
    tiling.skip(to: 3)
    #expect(tiling.next == 13)
  }

  /// Two predictors answer one partition, one of them again from an older offset, in any interleaving: what is accepted tiles.
  @Test(arguments: 1...20 as ClosedRange<UInt64>)
  func rivalsTile(seed: UInt64) {
    var state = seed
    func random(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int((state >> 33) % UInt64(bound))
    }
    var positions: [Int64] = [0, 0]
    var tiling = PredictionTiling(next: 0)
    var answered = [Int](repeating: 0, count: 400)
    while positions.min()! < 300 {
      let who = random(2)
      if random(20) == 0 { positions[who] = max(0, positions[who] - Int64(random(10))) }
      let from = positions[who]
      let to = from + 1
      positions[who] = to
      if tiling.decide(from: from, to: to) == .accept { answered[Int(from)] += 1 }
    }
    #expect(answered[..<300].allSatisfy { $0 == 1 }, "seed \(seed)")
  }

  @Test func aTopicHasOneTilingForEachArm() {
    var tilings = PredictionTilings()
    let reader = PredictionReader()
    let output = OutputBuffer()
    func accepts(_ partition: Int32, _ arm: String, _ from: Int64) -> Bool {
      output.removeAll()
      PredictionEncoder(model: "m", version: 1, arm: arm).gap(form: .protobuf, from: from, to: from + 1, reason: "shed", into: output)
      guard reader.read(output.bytes) else { return false }
      return tilings.accepts(partition: partition, reader.prediction)
    }
    #expect(accepts(0, "online", 0))
    #expect(accepts(0, "frozen", 0))
    #expect(accepts(1, "online", 0))
    let again = accepts(0, "online", 0)
    #expect(!again)
    #expect(accepts(0, "online", 5))
    #expect(tilings.duplicates == 1)
    #expect(tilings.missingOffsets == 4)
  }
}
