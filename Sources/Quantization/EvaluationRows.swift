internal import Events
public import Families
public import Model

/// Rows of data, decoded for one model as a server would decode them, with labels. One thread.
public final class EvaluationRows {
  /// Rows of one batch.
  public static let batchRows = 256
  public static let rowsMax = 10_000_000

  public let model: LoadedModel
  let specification: ModelSpecification
  let assembler: FeatureAssembler
  private let decoder: EventDecoder
  public private(set) var batches: [RowBatch] = []
  /// One for each row, or none at all.
  public private(set) var labels: [Double] = []
  public private(set) var rowCount = 0

  public init(model: LoadedModel) throws(EvaluationError) {
    self.model = model
    do throws(SpecificationErrors) {
      specification = try model.servingSpecification(name: "model", version: 1)
    } catch {
      throw EvaluationError(place: "model", reason: "\(error)")
    }
    assembler = FeatureAssembler(specification: specification)
    decoder = EventDecoder(specification: specification)
  }

  /// Names that data can give: features, tensors, their columns.
  public var names: [String] { (0..<assembler.nameCount).map(assembler.name) }

  /// The batch that takes the next row.
  func room() -> RowBatch {
    if let last = batches.last, last.rowCount < Self.batchRows { return last }
    let batch = model.makeBatch(rowCapacity: Self.batchRows)
    batches.append(batch)
    return batch
  }

  func added(_ rows: Int, label: Double?, at place: String) throws(EvaluationError) {
    guard rowCount < Self.rowsMax else { throw EvaluationError(place: place, reason: "more than \(Self.rowsMax) rows") }
    if let label {
      guard labels.count == rowCount else { throw EvaluationError(place: place, reason: "has a label, and rows before it have none") }
      for _ in 0..<rows { labels.append(label) }
    } else if !labels.isEmpty {
      throw EvaluationError(place: place, reason: "has no label, and rows before it have one")
    }
    rowCount += rows
  }

  /// A record as topics have it (JSON, protobuf or a V2 request, as `contentType` says, or found from the bytes); its outcome, when it has
  /// one, is the label. `place` names it in errors.
  public func append(event payload: UnsafeRawBufferPointer, contentType: UnsafeRawBufferPointer? = nil, place: String) throws(EvaluationError) {
    let event = decoder.decode(payload, contentType: contentType, into: room())
    guard event.ok else {
      let problem = decoder.problem()
      throw EvaluationError(place: place, reason: problem.field.isEmpty ? problem.message : "\(problem.field): \(problem.message)")
    }
    try added(event.rowCount, label: event.label, at: place)
  }

  /// Ends the row that the assembler holds.
  func finishRow(label: Double?, at place: String) throws(EvaluationError) {
    guard assembler.finish(into: room()) else { throw EvaluationError(place: place, reason: assembler.problemText()) }
    try added(1, label: label, at: place)
  }
}
