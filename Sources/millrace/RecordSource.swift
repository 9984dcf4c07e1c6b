import ArgumentParser
import Events

/// Records from lines of text. The record and the key given to `body` are borrowed.
protocol RecordSource {
  /// The number of the line that the last record began in.
  var line: Int { get }
  /// Reads on to the next record; nil at the end. The closure gets the record and the key that decides its partition.
  mutating func next(_ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) throws -> Void) throws -> Result<Void, EventProblem>?
}

/// One JSON object on each line; empty lines are passed over.
struct JSONLinesSource: RecordSource {
  private let lines: LineReader
  private let transcoder: EventTranscoder
  private let kind: ProduceCommand.Kind

  init(_ lines: LineReader, _ form: EventForm, _ kind: ProduceCommand.Kind) {
    self.lines = lines
    self.kind = kind
    transcoder = EventTranscoder(form: form)
  }

  var line: Int { lines.number }

  mutating func next(_ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) throws -> Void) throws -> Result<Void, EventProblem>? {
    while var text = lines.next() {
      if text.allSatisfy(\.isWhitespace) { continue }
      return try text.withUTF8 { bytes -> Result<Void, EventProblem> in
        let payload = UnsafeRawBufferPointer(bytes)
        let json = Array("application/json".utf8)
        let isRead = json.withUnsafeBytes {
          kind == .labels ? transcoder.label(payload, contentType: $0) : transcoder.event(payload, contentType: $0)
        }
        guard isRead else { return .failure(transcoder.problem()) }
        try body(transcoder.record, transcoder.key)
        return .success(())
      }
    }
    return nil
  }
}

/// Rows of a table; a quoted field may go over several lines.
struct CSVSource: RecordSource {
  private let lines: LineReader
  private let table: CSVTable
  private let kind: ProduceCommand.Kind
  private(set) var line = 1

  init(_ lines: LineReader, _ columns: CSVTable.Columns, _ form: EventForm, _ kind: ProduceCommand.Kind) throws {
    self.lines = lines
    self.kind = kind
    guard var header = lines.next() else {
      report("the table is empty: expected a header with the names of the columns")
      throw ExitCode.failure
    }
    // A byte order mark is no part of the first name.
    if header.unicodeScalars.first?.value == 0xFEFF { header.unicodeScalars.removeFirst() }
    do {
      table = try CSVTable(header: header, columns: columns, form: form)
    } catch {
      report("line 1: \(error)")
      throw ExitCode.failure
    }
  }

  mutating func next(_ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) throws -> Void) throws -> Result<Void, EventProblem>? {
    guard var row = lines.next() else { return nil }
    line = lines.number
    while row.isEmpty {
      guard let following = lines.next() else { return nil }
      row = following
      line = lines.number
    }
    while CSVTable.isOpen(row), row.utf8.count < 1 << 20, let more = lines.next() { row += "\n" + more }
    do throws(EventProblem) {
      if kind == .labels { try table.label(row) } else { try table.event(row) }
    } catch {
      return .failure(error)
    }
    var key = table.key
    try key.withUTF8 { try body(table.record, UnsafeRawBufferPointer($0)) }
    return .success(())
  }
}
