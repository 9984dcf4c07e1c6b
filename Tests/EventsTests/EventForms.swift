import Events
import Model

/// What the tests of this target share: a model of every kind of feature, and records for it.
let specification = ModelSpecification.sample

extension ModelSpecification {
  static var sample: ModelSpecification {
    ModelSpecification(
      name: "sample", version: 1, family: .linear(loss: .logistic),
      features: [
        .categorical("carrier"), .categorical("flight"), .categorical("tags", valuesMax: 8), .numeric("temp"), .numeric("wind"),
      ],
      crosses: [Cross(["carrier", "flight"])])
  }
}

func utf8(_ text: String) -> [UInt8] { Array(text.utf8) }

struct Row: Equatable, CustomStringConvertible {
  var ids: [UInt64]
  var values: [Float]
  var description: String { zip(ids, values).map { "\(String($0, radix: 16)):\($1)" }.joined(separator: " ") }
}

func rows(of batch: RowBatch) -> [Row] {
  (0..<batch.rowCount).map { row in
    let range = batch.start(ofRow: row)..<Int(batch.rowEnds[row])
    return Row(ids: range.map { batch.ids[$0] }, values: range.map { batch.values[$0] })
  }
}

/// A decoded event with its slices copied.
struct Decoded: Equatable {
  var form: EventForm
  var id: String
  var key: String
  var time: Int64
  var label: Double?
  var weight: Double
  var unknown: Int
  var rows: [Row]
}

enum Outcome: Equatable {
  case event(Decoded)
  case problem(EventProblem)

  var decoded: Decoded? { if case .event(let event) = self { event } else { nil } }
  var problem: EventProblem? { if case .problem(let problem) = self { problem } else { nil } }
}

func decode(_ bytes: [UInt8], contentType: String? = nil, with decoder: EventDecoder? = nil) -> Outcome {
  let decoder = decoder ?? EventDecoder(specification: specification)
  let batch = RowBatch()
  return bytes.withUnsafeBytes { payload in
    let header = contentType.map(utf8)
    let event =
      header?.withUnsafeBytes { decoder.decode(payload, contentType: $0, into: batch) }
      ?? decoder.decode(payload, contentType: nil, into: batch)
    guard event.ok else {
      precondition(batch.rowCount == 0 && batch.entryCount == 0, "a failed record left rows behind")
      return .problem(decoder.problem())
    }
    return .event(
      Decoded(
        form: event.form, id: String(decoding: event.id, as: UTF8.self), key: String(decoding: event.key, as: UTF8.self),
        time: event.eventTimeMilliseconds, label: event.label, weight: event.weight, unknown: event.unknownFeatures,
        rows: rows(of: batch)))
  }
}

func decode(json: String) -> Outcome { decode(utf8(json), contentType: "application/json") }
