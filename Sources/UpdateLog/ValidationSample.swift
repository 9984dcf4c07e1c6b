public import Model

/// Progressive validation of one batch: each example was predicted before it was learned. Rides in the record of the source
/// partition's home shard.
public struct ValidationSample: Sendable, Equatable {
  public private(set) var examples = 0
  /// Sums over examples, each times its weight: the weight itself, the loss, the label, the prediction, (prediction - label)².
  public private(set) var weight = 0.0
  public private(set) var loss = 0.0
  public private(set) var label = 0.0
  public private(set) var prediction = 0.0
  public private(set) var squaredError = 0.0
  /// Score bin * 2 + (label > 0.5), for each example in the order of prediction. Weights do not enter the AUC.
  public private(set) var entries: [UInt16] = []

  public static let examplesMax = 1 << 20

  public init() {}

  /// Forgets the examples, keeps the memory.
  public mutating func removeAll() {
    examples = 0
    weight = 0
    loss = 0
    label = 0
    prediction = 0
    squaredError = 0
    entries.removeAll(keepingCapacity: true)
  }

  public var isEmpty: Bool { examples == 0 }

  /// Adds one example: `sum` is the margin before learning. A sum that is not finite is left out.
  public mutating func add(sum: Double, label y: Double, weight w: Double, loss kind: Loss) {
    add(sum: sum, prediction: kind.score(sum: sum), label: y, weight: w, loss: kind.loss(sum: sum, label: y))
  }

  /// The same when prediction and loss are at hand.
  public mutating func add(sum: Double, prediction p: Double, label y: Double, weight w: Double, loss l: Double) {
    guard sum.isFinite, p.isFinite, l.isFinite, y.isFinite, w.isFinite, w >= 0, examples < Self.examplesMax else { return }
    examples += 1
    weight += w
    loss += w * l
    label += w * y
    prediction += w * p
    squaredError += w * (p - y) * (p - y)
    entries.append(UInt16(truncatingIfNeeded: ScoreBins.bin(sum: sum) * 2 + (y > 0.5 ? 1 : 0)))
  }

  /// The home shard of a source partition: the one whose records carry its validation.
  public static func homeShard(ofSourcePartition partition: Int32, shards: Int) -> Int { shards > 0 ? Int(UInt32(bitPattern: partition) % UInt32(shards)) : 0 }

  // MARK: wire

  var encodedBytes: Int { UpdateRecordLayout.validationFixedBytes + 2 * entries.count }

  func encode(to at: UnsafeMutableRawPointer) {
    at.storeBytes(of: UInt32(examples).littleEndian, as: UInt32.self)
    at.storeBytes(of: UInt32(entries.count).littleEndian, toByteOffset: 4, as: UInt32.self)
    func put(_ value: Double, _ offset: Int) { at.storeBytes(of: value.bitPattern.littleEndian, toByteOffset: offset, as: UInt64.self) }
    put(weight, 8)
    put(loss, 16)
    put(label, 24)
    put(prediction, 32)
    put(squaredError, 40)
    let offset = UpdateRecordLayout.validationFixedBytes
    for i in 0..<entries.count { at.storeBytes(of: entries[i].littleEndian, toByteOffset: offset + 2 * i, as: UInt16.self) }
  }

  static func check(_ bytes: UnsafeRawBufferPointer) throws(UpdateRecordError) {
    let fixed = UpdateRecordLayout.validationFixedBytes
    guard bytes.count >= fixed else { throw .field("validation", "\(bytes.count) bytes, at least \(fixed) needed") }
    let examples = UInt32(littleEndian: bytes.loadUnaligned(as: UInt32.self))
    let count = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
    guard examples <= UInt32(examplesMax), count <= examples else { throw .field("validation", "\(count) entries of \(examples) examples") }
    guard bytes.count == fixed + 2 * Int(count) else { throw .field("validation", "\(bytes.count) bytes for \(count) entries") }
    for i in 0..<Int(count) {
      let entry = UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: fixed + 2 * i, as: UInt16.self))
      guard entry < UInt16(ScoreBins.count * 2) else { throw .field("validation", "entry \(i) is \(entry)") }
    }
  }

  init(checked bytes: UnsafeRawBufferPointer) {
    let fixed = UpdateRecordLayout.validationFixedBytes
    func double(_ at: Int) -> Double { Double(bitPattern: UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self))) }
    examples = Int(UInt32(littleEndian: bytes.loadUnaligned(as: UInt32.self)))
    weight = double(8)
    loss = double(16)
    label = double(24)
    prediction = double(32)
    squaredError = double(40)
    entries = (0..<(bytes.count - fixed) / 2).map { UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: fixed + 2 * $0, as: UInt16.self)) }
  }
}

/// Bins of sums (log odds for the logistic loss), from which the AUC is taken.
public enum ScoreBins {
  public static let count = 1024
  /// Sums from -16 to 16 in steps of 1/32; beyond it the outermost bins.
  static let sumMax = 16.0

  public static func bin(sum: Double) -> Int {
    let at = ((sum + sumMax) / (2 * sumMax) * Double(count)).rounded(.down)
    return at.isNaN ? 0 : Int(min(max(at, 0), Double(count - 1)))
  }
}
