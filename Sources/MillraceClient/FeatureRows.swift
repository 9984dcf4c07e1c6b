internal import RPC
internal import Settings

/// Rows of named features into requests, by what the model says of its inputs. Rows that have the same features share a request: the
/// protocol has no way to say that one row of a tensor is absent.
struct FeatureRows {
  struct Request {
    /// Which of the rows it carries, in their order.
    var rows: [Int]
    var bytes: [UInt8]
  }

  /// Rows of one request.
  static let rowsMax = 1024

  let model: RemoteModel
  private let inputs: [RemoteModel.Input]
  private let positions: [String: Int]
  private let datatypes: [TensorDatatype?]

  init(_ model: RemoteModel) {
    self.model = model
    inputs = model.namedInputs
    positions = Dictionary(inputs.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
    datatypes = inputs.map { TensorDatatype(name: $0.datatype) }
  }

  /// Which features a row has, as what, and how many values each vector of numbers.
  private struct Signature: Hashable {
    var inputs: [Int]
    var columns: [Int]
    var datatypes: [TensorDatatype]
  }

  func requests(_ request: PredictionRequest, writer: InferRequestWriter) throws(PredictionError) -> [Request] {
    guard !request.rows.isEmpty else { throw PredictionError(.invalidArgument, "the request has neither rows nor tensors") }
    var order: [Signature] = []
    var groups: [Signature: [Int]] = [:]
    for (i, row) in request.rows.enumerated() {
      let signature = try signature(of: row, at: i, of: request.rows.count)
      if groups[signature] == nil { order.append(signature) }
      groups[signature, default: []].append(i)
    }
    var requests: [Request] = []
    for signature in order {
      let rows = groups[signature] ?? []
      for start in stride(from: 0, to: rows.count, by: Self.rowsMax) {
        let part = Array(rows[start..<min(start + Self.rowsMax, rows.count)])
        requests.append(Request(rows: part, bytes: try write(request, part, signature, writer)))
      }
    }
    return requests
  }

  private func signature(of row: [String: FeatureValue], at index: Int, of count: Int) throws(PredictionError) -> Signature {
    var known: [(input: Int, columns: Int, datatype: TensorDatatype)] = []
    for (name, value) in row.sorted(by: { $0.key < $1.key }) {
      guard let input = positions[name] else { throw unknown(name) }
      let elements = value.elements
      // An empty list is an absent value.
      guard !elements.isEmpty else { continue }
      guard let datatype = datatype(of: elements[0], for: input) else {
        throw PredictionError(.unimplemented, "\"\(name)\": the model wants \(inputs[input].datatype), which this client cannot write")
      }
      let where_ = count > 1 ? "row \(index): " : ""
      // A size that may be any leaves the number of elements open.
      let sizes = inputs[input].shape.dropFirst()
      let columns = sizes.contains { $0 < 0 } ? -1 : sizes.reduce(Int64(1)) { $0.multipliedReportingOverflow(by: $1).partialValue }
      if columns >= 0, elements.count != columns, datatype != .bytes || elements.count > columns {
        throw PredictionError(.invalidArgument, "\(where_)\"\(name)\": \(elements.count) values, expected \(columns)")
      }
      known.append((input, datatype == .bytes ? 0 : elements.count, datatype))
    }
    guard !known.isEmpty else {
      throw PredictionError(.invalidArgument, count > 1 ? "row \(index) has no feature" : "the request has no feature")
    }
    known.sort { $0.input < $1.input }
    return Signature(inputs: known.map(\.input), columns: known.map(\.columns), datatypes: known.map(\.datatype))
  }

  /// What the model says, or, where it takes names of categories and numbers, what the value is.
  private func datatype(of value: FeatureValue, for input: Int) -> TensorDatatype? {
    guard inputs[input].takesNames else { return datatypes[input] }
    return switch value {
    case .text, .list: .bytes
    case .integer: .int64
    case .number: .fp64
    case .flag: .bool
    }
  }

  private func unknown(_ name: String) -> PredictionError {
    let names = inputs.map(\.name)
    let hint =
      if let near = nearest(to: name, in: names) {
        "did you mean \"\(near)\"?"
      } else {
        "it has " + names.prefix(30).joined(separator: ", ") + (names.count > 30 ? ", …" : "")
      }
    return PredictionError(.invalidArgument, "the model \(model.name) has no feature \"\(name)\": \(hint)")
  }

  private func write(
    _ request: PredictionRequest, _ rows: [Int], _ signature: Signature, _ writer: InferRequestWriter
  ) throws(PredictionError) -> [UInt8] {
    writer.begin(model: request.model, version: request.version, id: request.id)
    writer.parameters(request.parameters)
    for (place, input) in signature.inputs.enumerated() {
      let description = inputs[input]
      let datatype = signature.datatypes[place]
      let values = rows.map { request.rows[$0][description.name]?.elements ?? [] }
      // Short rows of texts are filled up with empty ones, which are no values.
      let columns = datatype == .bytes ? values.map(\.count).max() ?? 1 : signature.columns[place]
      let shape: [Int64] = description.shape.count == 1 ? [Int64(rows.count)] : [Int64(rows.count), Int64(columns)]
      writer.input(description.name, datatype, shape: shape)
      for (i, row) in values.enumerated() {
        for value in row {
          guard append(value, datatype, writer) else {
            let where_ = request.rows.count > 1 ? "row \(rows[i]): " : ""
            throw PredictionError(
              .invalidArgument, "\(where_)\"\(description.name)\": \(value.shown) is not \(Self.wanted(datatype)) (the model wants \(datatype))")
          }
        }
        if datatype == .bytes { for _ in row.count..<max(columns, row.count) { writer.text("") } }
      }
    }
    return Array(writer.finish())
  }

  private func append(_ value: FeatureValue, _ datatype: TensorDatatype, _ writer: InferRequestWriter) -> Bool {
    switch datatype {
    case .bytes: return writer.text(value.asText)
    case .fp16, .bf16, .fp32, .fp64:
      guard let number = value.asNumber, number.isFinite else { return false }
      return writer.number(number)
    case .bool: return value.asFlag.map { writer.flag($0) } ?? false
    default: return value.asInteger.map { writer.integer($0) } ?? false
    }
  }

  private static func wanted(_ datatype: TensorDatatype) -> String {
    switch datatype {
    case .bytes: "a text"
    case .fp16, .bf16, .fp32, .fp64: "a finite number"
    case .bool: "true or false"
    default: "a whole number in range"
    }
  }
}

extension FeatureValue {
  /// For messages.
  var shown: String {
    switch self {
    case .text(let text): "\"\(text.prefix(40))\""
    case .list: "a list"
    default: asText
    }
  }
}

extension InferRequestWriter {
  func parameters(_ parameters: [String: PredictionRequest.Parameter]) {
    for (name, value) in parameters.sorted(by: { $0.key < $1.key }) {
      switch value {
      case .text(let text): parameter(name, text: text)
      case .integer(let integer): parameter(name, integer: integer)
      case .number(let number): parameter(name, number: number)
      case .flag(let flag): parameter(name, flag: flag)
      }
    }
  }
}
