internal import Foundation
public import Model

/// An input tensor of a model as a generator sees it: one row of so many elements.
public struct InferInput: Sendable, Equatable {
  /// What the generator knows how to make up.
  public enum Datatype: String, Sendable, CaseIterable {
    case bytes = "BYTES"
    case int64 = "INT64"
    case fp32 = "FP32"
  }

  public var name: String
  public var datatype: Datatype
  /// Elements of one row.
  public var columns: Int

  public init(name: String, datatype: Datatype, columns: Int = 1) {
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

/// ModelInfer requests encoded in advance, byte for byte as `tritonclient` writes them (raw contents), many distinct ones so that no cache
/// is flattered. Immutable: shared by the threads that send.
public final class InferBodies: @unchecked Sendable {
  public static let countMin = 10_000
  public static let countMax = 10_000_000
  /// All bodies together.
  public static let bytesMax = 4 << 30
  /// One body of a file.
  public static let bodyBytesMax = 64 << 20

  /// Values of one input, for one row.
  enum Values {
    case texts([String])
    case integers([Int64])
    case floats([Float])
  }

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
    for _ in 0..<count { try collected.add(inputs.map { ($0, value(of: $0, &random)) }) }
    return collected.finish()
  }

  /// Categorical inputs have few frequent and many rare values, as real ones do.
  private static func value(of input: InferInput, _ random: inout SplitMix) -> Values {
    switch input.datatype {
    case .bytes: .texts((0..<input.columns).map { _ in "v\(rank(input, &random))" })
    case .int64: .integers((0..<input.columns).map { _ in Int64(rank(input, &random)) })
    case .fp32: .floats((0..<input.columns).map { _ in Float((random.unit() * 1_000).rounded() / 10) })
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
      var row: [(InferInput, Values)] = []
      for input in inputs {
        guard let value = features[input.name], !(value is NSNull) else { continue }
        let list = value as? [Any] ?? [value]
        guard let values = values(list, input.datatype) else {
          throw LoadTestError("Line \(index + 1): \"\(input.name)\" is not what an input of \(input.datatype.rawValue) takes.")
        }
        row.append((InferInput(name: input.name, datatype: input.datatype, columns: list.count), values))
      }
      guard !row.isEmpty else { throw LoadTestError("Line \(index + 1) has none of the model's inputs.") }
      try collected.add(row)
    }
    guard collected.count > 0 else { throw LoadTestError("The file holds no events.") }
    return collected.finish()
  }

  private static func values(_ list: [Any], _ datatype: InferInput.Datatype) -> Values? {
    guard !list.isEmpty else { return nil }
    switch datatype {
    case .bytes:
      let texts = list.compactMap { ($0 as? String) ?? ($0 as? NSNumber)?.stringValue }
      return texts.count == list.count ? .texts(texts) : nil
    case .int64:
      let integers = list.compactMap { ($0 as? NSNumber).flatMap { Int64(exactly: $0) } }
      return integers.count == list.count ? .integers(integers) : nil
    case .fp32:
      let floats = list.compactMap { ($0 as? NSNumber)?.floatValue }
      return floats.count == list.count ? .floats(floats) : nil
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

    mutating func add(_ row: [(input: InferInput, values: Values)]) throws {
      guard ends.count < countMax, all.count < bytesMax else { throw LoadTestError("More than \(countMax) bodies, or \(bytesMax) bytes of them.") }
      writer.begin(model: model, version: version)
      for (input, values) in row {
        switch values {
        case .texts(let texts): writer.texts(input.name, texts)
        case .integers(let integers): writer.integers(input.name, integers)
        case .floats(let floats): writer.floats(input.name, floats)
        }
      }
      all += writer.finish()
      ends.append(all.count)
    }

    func finish() -> InferBodies { InferBodies(all, ends: ends) }
  }
}
