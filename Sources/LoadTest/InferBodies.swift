internal import Foundation
public import MillraceClient
public import Model

/// An input tensor of a model as a generator sees it: one row of so many elements.
public struct InferInput: Sendable, Equatable {
  public var name: String
  public var datatype: TensorDatatype
  /// Elements of one row.
  public var columns: Int

  public init(name: String, datatype: TensorDatatype, columns: Int = 1) {
    precondition(columns > 0, "\(columns) columns")
    self.name = name
    self.datatype = datatype
    self.columns = columns
  }

  /// One input for each feature, as a model with named features publishes them.
  public static func inputs(_ specification: ModelSpecification) -> [InferInput] {
    specification.features.map {
      $0.kind == .categorical ? InferInput(name: $0.name, datatype: .bytes) : InferInput(name: $0.name, datatype: .fp32, columns: max(1, $0.valuesMax))
    }
  }
}

extension InferInput {
  /// The name and inputs of a model, as the server says; without a name, of its only model.
  /// - Throws: `LoadTestError` naming what is missing, `PredictionError` of the server.
  public static func ask(_ client: PredictionClient, model: String?, version: String = "") async throws -> (model: String, inputs: [InferInput]) {
    var name = model
    if name == nil {
      let served = Set(try await client.index().map(\.name))
      guard served.count == 1 else {
        throw LoadTestError(
          served.isEmpty ? "The server has no models." : "The server has several models, name one: \(served.sorted().joined(separator: ", ")).")
      }
      name = served.first
    }
    let remote = try await client.metadata(model: name ?? "", version: version)
    let inputs = try remote.inputs.map { input in
      guard let datatype = TensorDatatype(name: input.datatype) else {
        throw LoadTestError("Input \"\(input.name)\" has datatype \(input.datatype), which no request can be made up for.")
      }
      // The first size is the rows; one that is free stands for a single value.
      var columns = 1
      for size in input.shape.dropFirst() where size > 0 {
        let (product, overflow) = columns.multipliedReportingOverflow(by: Int(clamping: size))
        guard !overflow && product <= columnsMax else { throw LoadTestError("Input \"\(input.name)\" has more than \(columnsMax) elements a row.") }
        columns = product
      }
      return InferInput(name: input.name, datatype: datatype, columns: columns)
    }
    return (remote.name, inputs)
  }

  static let columnsMax = 1 << 20
}

/// ModelInfer requests encoded in advance, byte for byte as `tritonclient` writes them (raw contents), many distinct ones so that no cache
/// is flattered. Immutable: shared by the threads that send.
public final class InferBodies: @unchecked Sendable {
  public static let countMin = 10_000
  public static let countMax = 10_000_000
  /// All bodies together.
  public static let bytesMax = 4 << 30
  /// One body of a file.
  public static let bodyBytesMax = 64 << 20

  public let count: Int
  private let storage: UnsafeMutableRawBufferPointer
  private let ends: UnsafeMutablePointer<Int>

  private init(_ all: [UInt8], ends: [Int]) {
    count = ends.count
    storage = .allocate(byteCount: max(1, all.count), alignment: 16)
    storage.copyBytes(from: all)
    self.ends = .allocate(capacity: max(1, ends.count))
    self.ends.initialize(from: ends, count: ends.count)
  }

  deinit {
    storage.deallocate()
    ends.deallocate()
  }

  /// The body of this event; bodies repeat after `count` events.
  @inline(__always)
  public subscript(_ index: Int) -> UnsafeRawBufferPointer {
    let place = index % count
    let start = place == 0 ? 0 : ends[place - 1]
    return UnsafeRawBufferPointer(start: storage.baseAddress.unsafelyUnwrapped + start, count: ends[place] - start)
  }

  public var bytesPerRequest: Double { Double(ends[count - 1]) / Double(count) }

  /// How many of the bodies differ from all others before them.
  public var distinctCount: Int {
    var hashes = Set<Int>(minimumCapacity: count)
    for index in 0..<count {
      var hasher = Hasher()
      hasher.combine(bytes: self[index])
      hashes.insert(hasher.finalize())
    }
    return hashes.count
  }

  // MARK: Made up

  /// - Parameters:
  ///   - model: as the request names it; `version` empty: the one that the server would serve.
  ///   - seed: decides every value.
  /// - Throws: `LoadTestError` for a model without inputs.
  public static func generate(
    model: String, version: String = "", inputs: [InferInput], count: Int = 16_384, seed: UInt64
  ) throws -> InferBodies {
    guard !inputs.isEmpty else { throw LoadTestError("Model \"\(model)\" has no inputs that requests could be made up for.") }
    precondition(count > 0 && count <= countMax, "\(count) bodies")
    var random = SplitMix(state: seed)
    var collected = Collected(model: model, version: version)
    for _ in 0..<count {
      try collected.begin()
      for input in inputs {
        collected.writer.input(input.name, input.datatype, rows: 1, columns: input.columns)
        for _ in 0..<input.columns { writeValue(of: input, to: collected.writer, &random) }
      }
      collected.end()
    }
    return collected.finish()
  }

  /// Categorical inputs have few frequent and many rare values, as real ones do.
  private static func writeValue(of input: InferInput, to writer: InferRequestWriter, _ random: inout SplitMix) {
    switch input.datatype {
    case .bytes: writer.text("v\(rank(input, &random))")
    case .fp16, .bf16, .fp32, .fp64: writer.number((random.unit() * 1_000).rounded() / 10)
    case .bool: writer.flag(random.next() & 1 != 0)
    case .int8, .uint8: writer.integer(Int64(min(127, rank(input, &random))))
    case .int16, .int32, .int64, .uint16, .uint32, .uint64: writer.integer(Int64(rank(input, &random)))
    }
  }

  private static func rank(_ input: InferInput, _ random: inout SplitMix) -> Int {
    let kinds = 1 << (2 + hash64(input.name, seed: 1) % 11)  // 4 to 4,096, by the name
    return max(0, Int(pow(Double(kinds), random.unit())) - 1)
  }

  // MARK: Of a file

  /// One event a line: `{"features": {…}}` as `millrace produce` takes them, or the features alone. An input that a line lacks is left out of
  /// its request; what is no input is skipped.
  /// - Throws: `LoadTestError` naming the line.
  public static func read(
    jsonLines text: String, model: String, version: String = "", inputs: [InferInput]
  ) throws -> InferBodies {
    var collected = Collected(model: model, version: version)
    for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() where !line.isEmpty {
      guard let object = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] else {
        throw LoadTestError("Line \(index + 1) is not a JSON object.")
      }
      let features = object["features"] as? [String: Any] ?? object
      var written = 0
      try collected.begin()
      for input in inputs {
        guard let value = features[input.name], !(value is NSNull) else { continue }
        let list = value as? [Any] ?? [value]
        collected.writer.input(input.name, input.datatype, rows: 1, columns: list.count)
        guard !list.isEmpty, list.allSatisfy({ write($0, input.datatype, to: collected.writer) }) else {
          throw LoadTestError("Line \(index + 1): \"\(input.name)\" is not what an input of \(input.datatype.name) takes.")
        }
        written += 1
      }
      guard written > 0 else { throw LoadTestError("Line \(index + 1) has none of the model's inputs.") }
      collected.end()
    }
    guard collected.count > 0 else { throw LoadTestError("The file holds no events.") }
    return collected.finish()
  }

  private static func write(_ value: Any, _ datatype: TensorDatatype, to writer: InferRequestWriter) -> Bool {
    switch datatype {
    case .bytes:
      guard let text = (value as? String) ?? (value as? NSNumber)?.stringValue else { return false }
      return writer.text(text)
    case .fp16, .bf16, .fp32, .fp64: return (value as? NSNumber).map { writer.number($0.doubleValue) } ?? false
    case .bool: return (value as? Bool).map { writer.flag($0) } ?? false
    case .int8, .int16, .int32, .int64, .uint8, .uint16, .uint32, .uint64:
      return (value as? NSNumber).flatMap { Int64(exactly: $0) }.map { writer.integer($0) } ?? false
    }
  }

  /// Bodies as they are, each after its length in four bytes, little endian: what `framed` gives.
  /// - Throws: `LoadTestError` when the file ends inside one.
  public static func read(framed bytes: [UInt8]) throws -> InferBodies {
    var all: [UInt8] = []
    var ends: [Int] = []
    var at = 0
    while at < bytes.count {
      guard bytes.count - at >= 4 else { throw LoadTestError("The file ends inside the length of body \(ends.count + 1).") }
      let length = Int(bytes[at]) | Int(bytes[at + 1]) << 8 | Int(bytes[at + 2]) << 16 | Int(bytes[at + 3]) << 24
      at += 4
      guard length <= bodyBytesMax else { throw LoadTestError("Body \(ends.count + 1) has \(length) bytes and at most \(bodyBytesMax) are taken.") }
      guard bytes.count - at >= length else { throw LoadTestError("The file ends inside body \(ends.count + 1).") }
      guard ends.count < countMax else { throw LoadTestError("The file has more than \(countMax) bodies.") }
      all += bytes[at..<at + length]
      at += length
      ends.append(all.count)
    }
    guard !ends.isEmpty else { throw LoadTestError("The file holds no bodies.") }
    return InferBodies(all, ends: ends)
  }

  /// All bodies, each after its length in four bytes, little endian.
  public var framed: [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(ends[count - 1] + 4 * count)
    for index in 0..<count {
      let body = self[index]
      withUnsafeBytes(of: UInt32(truncatingIfNeeded: body.count).littleEndian) { out += $0 }
      out += body
    }
    return out
  }

  /// Bodies while they are made.
  private struct Collected {
    let model: String
    let version: String
    let writer = InferRequestWriter()
    var all: [UInt8] = []
    var ends: [Int] = []

    init(model: String, version: String) {
      self.model = model
      self.version = version
    }

    var count: Int { ends.count }

    func begin() throws {
      guard ends.count < countMax, all.count < bytesMax else { throw LoadTestError("More than \(countMax) bodies, or \(bytesMax) bytes of them.") }
      writer.begin(model: model, version: version)
    }

    mutating func end() {
      all += writer.finish()
      ends.append(all.count)
    }

    func finish() -> InferBodies { InferBodies(all, ends: ends) }
  }
}
