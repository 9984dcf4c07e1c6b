import Events
import Testing

@Suite struct LabelTests {
  @Test(arguments: [EventForm.json, .protobuf])
  func comesBack(form: EventForm) {
    let writer = LabelWriter(form: form)
    let decoder = LabelDecoder()
    for (key, time, value, weight) in [("k", 5, 1, 2), (nil, nil, 0, nil), (nil, -1, -17.25, 0)] as [(String?, Int64?, Double, Double?)] {
      let label = decoder.decode(
        writer.write(id: "u1", key: key, eventTimeMilliseconds: time, label: value, weight: weight), contentType: nil)
      #expect(label.ok && label.form == form)
      #expect(String(decoding: label.id, as: UTF8.self) == "u1")
      #expect(String(decoding: label.key, as: UTF8.self) == key ?? "u1")
      #expect(label.eventTimeMilliseconds == time ?? .min)
      #expect(label.value == value && label.weight == weight ?? 1)
    }
  }

  @Test(arguments: [
    (#"{"id":"a"}"#, EventProblem.Reason.missingLabel), (#"{"label":1}"#, .missingID), (#"{"id":"a","label":null}"#, .missingLabel),
    (#"{"id":"a","label":"1"}"#, .wrongType), (#"{"id":"a","label":1,"label":1}"#, .duplicateField), ("\n", .truncated), ("\u{1}", .invalidProtobuf), ("x", .truncated),
  ])
  func isRefused(text: String, reason: EventProblem.Reason) {
    let decoder = LabelDecoder()
    utf8(text).withUnsafeBytes { bytes in
      #expect(!decoder.decode(bytes, contentType: nil).ok)
      #expect(decoder.problem().reason == reason)
    }
  }

  /// An id of 123 bytes begins, as protobuf, with a newline and a brace; one of 32 that begins with a brace, with white space and a brace.
  @Test(arguments: [String(repeating: "i", count: 123), "{" + String(repeating: "i", count: 31), "{" + String(repeating: "i", count: 9)])
  func protobufThatLooksLikeJSON(id: String) {
    let writer = LabelWriter(form: .protobuf)
    let decoder = LabelDecoder()
    let label = decoder.decode(writer.write(id: id, key: nil, eventTimeMilliseconds: nil, label: 1, weight: nil), contentType: nil)
    #expect(label.ok && label.form == .protobuf && String(decoding: label.id, as: UTF8.self) == id)
    for text in ["\n{\"id\":\"\(id)\",\"label\":1}\n", " \r\n\t {\"id\":\"\(id)\",\"label\":1}"] {
      utf8(text).withUnsafeBytes { #expect(decoder.decode($0, contentType: nil).form == .json) }
    }
  }

  @Test func anEventIsNoLabel() {
    let writer = EventWriter(form: .protobuf)
    writer.begin(id: "a")
    writer.text("carrier", "AA")
    let decoder = LabelDecoder()
    #expect(!decoder.decode(writer.finish(), contentType: nil).ok)
    #expect(decoder.problem().field == "label")
  }
}

@Suite struct DeadLetterTests {
  @Test func headersComeBack() {
    let letter = DeadLetter(
      EventProblem(reason: .wrongType, field: "temp", message: "a text"), topic: "features", partition: 3, offset: 17,
      contentType: "application/json")
    let headers = Dictionary(uniqueKeysWithValues: letter.headers.map { ($0.name, $0.value) })
    #expect(DeadLetter { headers[$0] } == letter)
    #expect(DeadLetter { $0 == "millrace-reason" ? "x" : nil } == nil)
    #expect(DeadLetter.topic(of: "features") == "features.dead-letter")
  }

  @Test func reasonsAreStable() {
    // Dashboards and alerts know these words: add to them, never change one.
    #expect(
      Set(EventProblem.Reason.allCases.map(\.rawValue)).isSuperset(of: [
        "empty_payload", "payload_too_large", "unknown_content_type", "invalid_json", "invalid_protobuf", "invalid_v2", "truncated",
        "nested_too_deep", "too_many_values", "text_too_long", "wrong_type", "number_out_of_range", "not_finite", "invalid_utf8",
        "duplicate_field", "duplicate_feature", "invalid_time", "both_contents", "invalid_shape", "invalid_datatype", "missing_id",
        "missing_label", "unsupported_format", "count_mismatch",
      ]))
  }
}
