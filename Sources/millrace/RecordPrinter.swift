import Events
import Foundation
import Kafka
import UpdateLog

/// Writes records as lines on standard output.
struct RecordPrinter {
  private static let bufferedBytesMax = 1 << 16

  private let kind: TailCommand.Kind
  private let asJSON: Bool
  private let names: (Int) -> String
  private let output = OutputBuffer()
  private let predictions = PredictionReader()
  private let examples = ExampleReader()
  private let events = EventTranscoder(form: .json)
  private var tilings = PredictionTilings()
  /// Predictions that another record had answered.
  private(set) var leftOut = 0

  init(kind: TailCommand.Kind, asJSON: Bool, names: @escaping (Int) -> String) {
    self.kind = kind
    self.asJSON = asJSON
    self.names = names
  }

  /// False when the record was left out.
  mutating func print(_ message: KafkaMessage) -> Bool {
    let start = output.count
    let value = message.value ?? UnsafeRawBufferPointer(start: nil, count: 0)
    let contentType = message.header("content-type")
    switch kind {
    case .predictions:
      guard predictions.read(value, contentType: contentType) else {
        unreadable(message, value, predictions.problem())
        break
      }
      guard tilings.accepts(partition: message.partition, predictions.prediction) else {
        leftOut += 1
        output.truncate(to: start)
        return false
      }
      if asJSON { wrapped(message) { predictions.prediction.writeJSON(into: output) } } else { prediction(message, predictions.prediction) }
    case .updates: update(message, value)
    case .deadLetters: deadLetter(message, value)
    case .examples: example(message, value, contentType)
    case .labels, .features:
      let isRead = kind == .labels ? events.label(value, contentType: contentType) : events.event(value, contentType: contentType)
      guard isRead else {
        unreadable(message, value, events.problem())
        break
      }
      wrapped(message) { output.append(events.record) }
    }
    output.append(byte: 0x0A)
    if output.count > Self.bufferedBytesMax { flush() }
    return true
  }

  /// Writes what was printed so far.
  func flush() {
    var rest = output.bytes
    while let base = rest.baseAddress, rest.count > 0 {
      let written = write(STDOUT_FILENO, base, rest.count)
      if written < 0, errno != EINTR { break }
      rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(max(0, written)))
    }
    output.removeAll()
  }

  // MARK: Kinds

  private func prediction(_ message: KafkaMessage, _ prediction: PredictionView) {
    place(message)
    let range = prediction.to == prediction.from + 1 ? "\(prediction.from)" : "\(prediction.from)..<\(prediction.to)"
    output.append("  answers \(range)  \(text(prediction.model)).\(prediction.version) \(text(prediction.arm))  ")
    switch prediction.kind {
    case .scores:
      output.append("\(text(prediction.id))  score ")
      for (i, score) in prediction.scores.enumerated() {
        if i > 0 { output.append(", ") }
        output.appendDecimal(score)
      }
      for each in prediction.outputs {
        output.append("  \(text(each.name)) ")
        for index in 0..<each.count {
          if index > 0 { output.append(", ") }
          if each.isText { output.append(text(each.text(index))) } else { output.appendDecimal(each.values[index]) }
        }
      }
      output.append("  position \(prediction.position.map(String.init).joined(separator: ","))")
      if prediction.labelsThroughMilliseconds != .min {
        output.append("  labels through \(EventTime.text(prediction.labelsThroughMilliseconds))")
      }
    case .error:
      output.append("refused: \(text(prediction.errorReason)) in \(text(prediction.errorField)): \(text(prediction.errorMessage))")
    case .gap: output.append("gap: \(text(prediction.gapReason))")
    }
  }

  private func update(_ message: KafkaMessage, _ value: UnsafeRawBufferPointer) {
    let view: UpdateRecordView
    do throws(UpdateRecordError) {
      view = try UpdateRecordView.parse(value)
    } catch {
      return unreadable(message, value, EventProblem(reason: .other, message: "\(error)"))
    }
    let header = view.header
    if asJSON {
      wrapped(message) {
        output.append("{\"kind\":\"\(header.kind)\",\"spec\":\"\(String(header.specHash, radix: 16))\",\"epoch\":\(header.epoch)")
        output.append(",\"source\":\(header.sourcePartition),\"from\":\(header.from),\"to\":\(header.to.offset)")
        output.append(",\"examples\":\(header.examples),\"rows\":\(header.rowCount),\"trainer\":\"\(String(header.trainer, radix: 16))\"")
        if let times = header.eventTime { output.append(",\"labels_from\":\(times.lowerBound),\"labels_through\":\(times.upperBound)") }
        output.append("}")
      }
      return
    }
    place(message)
    output.append("  \(header.kind)")
    switch header.kind {
    case .update, .skip:
      output.append("  examples/\(header.sourcePartition) \(header.from)..<\(header.to.offset)  \(header.examples) examples, \(header.rowCount) rows")
    case .spec: output.append("  specification \(String(header.specHash, radix: 16))")
    default: break
    }
    output.append("  epoch \(header.epoch)")
    if let times = header.eventTime { output.append("  labels through \(EventTime.text(times.upperBound))") }
  }

  private func deadLetter(_ message: KafkaMessage, _ value: UnsafeRawBufferPointer) {
    let headers = message.headers
    let letter = DeadLetter { name in
      headers.last { $0.name == name }?.value.map { String(decoding: $0, as: UTF8.self) }
    }
    guard let letter else {
      return unreadable(message, value, EventProblem(reason: .other, message: "the record lacks the headers of a dead letter"))
    }
    if asJSON {
      wrapped(message) {
        output.append("{\"reason\":")
        output.appendJSON(letter.reason)
        output.append(",\"field\":")
        output.appendJSON(letter.field)
        output.append(",\"message\":")
        output.appendJSON(letter.message)
        output.append(",\"source\":{\"topic\":")
        output.appendJSON(letter.sourceTopic)
        output.append(",\"partition\":\(letter.sourcePartition),\"offset\":\(letter.sourceOffset)},\"bytes\":")
        output.appendJSON(String(decoding: value, as: UTF8.self))
        output.append("}")
      }
      return
    }
    place(message)
    output.append("  \(letter.sourceTopic)/\(letter.sourcePartition)@\(letter.sourceOffset)  \(letter.reason)")
    if !letter.field.isEmpty { output.append(" in \(letter.field)") }
    output.append(": \(letter.message)  ")
    excerpt(value)
  }

  private func example(_ message: KafkaMessage, _ value: UnsafeRawBufferPointer, _ contentType: UnsafeRawBufferPointer?) {
    guard examples.read(value, contentType: contentType) else { return unreadable(message, value, examples.problem()) }
    let header = examples.header
    var view = ExampleView()
    if asJSON {
      wrapped(message) {
        output.append("{")
        if !header.isDirect {
          output.append("\"features\":[\(header.featuresFrom),\(header.featuresTo)],\"labels\":[\(header.labelsFrom),\(header.labelsTo)],")
        }
        output.append("\"examples\":[")
        var isFirst = true
        while examples.next(&view) {
          if !isFirst { output.append(",") }
          isFirst = false
          output.append("{\"id\":")
          output.appendJSON(view.id)
          output.append(",\"label\":")
          output.appendDecimal(view.label)
          output.append(",\"weight\":")
          output.appendDecimal(view.weight)
          output.append(",\"expired\":\(view.expired),\"event\":")
          if events.event(view.event, contentType: contentTypeBytes(view.form)) { output.append(events.record) } else { output.append("null") }
          output.append("}")
        }
        output.append("]}")
      }
      return
    }
    place(message)
    if header.isDirect {
      output.append("  given directly, \(header.count) example\(header.count == 1 ? "" : "s")")
    } else {
      output.append(
        "  features \(header.featuresFrom)..<\(header.featuresTo), labels \(header.labelsFrom)..<\(header.labelsTo), \(header.count) example\(header.count == 1 ? "" : "s")"
      )
    }
    while examples.next(&view) {
      output.append("\n    \(text(view.id))  label ")
      output.appendDecimal(view.label)
      if view.expired { output.append(" (expired)") }
      output.append("  weight ")
      output.appendDecimal(view.weight)
      if view.eventTimeMilliseconds != .min { output.append("  \(EventTime.text(view.eventTimeMilliseconds))") }
    }
  }

  // MARK: Parts

  /// `features/0@17  12:00:00.250Z`
  private func place(_ message: KafkaMessage) {
    output.append("\(names(message.topic))/\(message.partition)@\(message.offset)")
    let time = message.timestampMilliseconds
    if time >= 0 { output.append("  \(EventTime.text(time))") }
  }

  /// JSON: the record in an object that says where it stood. For people: its place before it.
  private func wrapped(_ message: KafkaMessage, _ body: () -> Void) {
    guard asJSON else {
      place(message)
      output.append("  ")
      return body()
    }
    output.append("{\"topic\":")
    output.appendJSON(names(message.topic))
    output.append(",\"partition\":\(message.partition),\"offset\":\(message.offset),\"timestamp\":\(message.timestampMilliseconds),\"value\":")
    body()
    output.append("}")
  }

  private func unreadable(_ message: KafkaMessage, _ value: UnsafeRawBufferPointer, _ problem: EventProblem) {
    wrapped(message) {
      if asJSON {
        output.append("{\"unreadable\":")
        output.appendJSON(problem.description)
        output.append("}")
      } else {
        output.append("cannot be read (\(problem)): ")
        excerpt(value)
      }
    }
  }

  /// The first bytes, as text where they are one.
  private func excerpt(_ value: UnsafeRawBufferPointer) {
    let bytesMax = 80
    for byte in value.prefix(bytesMax) { output.append(byte: byte >= 0x20 && byte < 0x7F ? byte : UInt8(ascii: ".")) }
    if value.count > bytesMax { output.append("… (\(value.count) bytes)") }
  }

  private func text(_ bytes: UnsafeRawBufferPointer) -> String { String(decoding: bytes, as: UTF8.self) }

  private func contentTypeBytes(_ form: EventForm) -> UnsafeRawBufferPointer {
    let name = form.contentType
    return UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
  }
}
