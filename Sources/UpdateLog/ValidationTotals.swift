internal import CKernels

/// Sums of progressive validation: over all accepted records, or over a window of them.
public struct ValidationTotals: Sendable, Equatable {
  public internal(set) var examples: Int64 = 0
  public internal(set) var weight = 0.0
  public internal(set) var lossSum = 0.0
  public internal(set) var labelSum = 0.0
  public internal(set) var predictionSum = 0.0
  public internal(set) var squaredErrorSum = 0.0
  /// Label event times of the records in here, milliseconds; `UpdateHeader.noTime` while empty.
  public internal(set) var eventTimeFromMilliseconds = UpdateHeader.noTime
  public internal(set) var eventTimeThroughMilliseconds = UpdateHeader.noTime
  /// Examples by score bin: negatives at 2 * bin, positives at 2 * bin + 1.
  var bins = [Int64](repeating: 0, count: ScoreBins.count * 2)

  public init() {}

  /// The mean loss (log loss for the logistic loss); NaN while empty.
  public var meanLoss: Double { lossSum / weight }
  /// The same, by the name the field has for it.
  public var logLoss: Double { meanLoss }
  public var meanLabel: Double { labelSum / weight }
  public var meanPrediction: Double { predictionSum / weight }
  /// Sum of predictions over sum of labels: 1 is calibrated.
  public var calibration: Double { predictionSum / labelSum }
  public var meanSquaredError: Double { squaredErrorSum / weight }

  public var positives: Int64 { stride(from: 1, to: bins.count, by: 2).reduce(0) { $0 &+ bins[$1] } }
  public var negatives: Int64 { stride(from: 0, to: bins.count, by: 2).reduce(0) { $0 &+ bins[$1] } }

  /// The area under the ROC curve: the share of (positive, negative) pairs in the right order, pairs in one bin counting half. NaN while
  /// either class is empty. It differs from that of the exact scores by `aucErrorMax` at most.
  public var auc: Double { areas().auc }

  /// Half the share of pairs that fall into one bin: bins of 1/32 of log odds keep it below 0.002 in practice.
  public var aucErrorMax: Double { areas().tied / 2 }

  private func areas() -> (auc: Double, tied: Double) {
    var below = 0.0
    var area = 0.0
    var tied = 0.0
    var positives = 0.0
    for bin in 0..<ScoreBins.count {
      let n = Double(bins[2 * bin])
      let p = Double(bins[2 * bin + 1])
      area += p * (below + n / 2)
      tied += p * n
      below += n
      positives += p
    }
    let pairs = positives * below
    return (area / pairs, tied / pairs)
  }

  public mutating func add(_ sample: ValidationSample) {
    guard sample.sumsAreFinite else { return }
    addSums(examples: sample.examples, sample.weight, sample.loss, sample.label, sample.prediction, sample.squaredError)
    for entry in sample.entries { bins[Int(entry)] &+= 1 }
  }

  private mutating func addSums(examples n: Int, _ w: Double, _ l: Double, _ y: Double, _ p: Double, _ e: Double) {
    examples &+= Int64(n)
    weight += w
    lossSum += l
    labelSum += y
    predictionSum += p
    squaredErrorSum += e
  }

  mutating func extend(from: Int64, through: Int64) {
    if from != UpdateHeader.noTime {
      eventTimeFromMilliseconds = eventTimeFromMilliseconds == UpdateHeader.noTime ? from : min(eventTimeFromMilliseconds, from)
    }
    eventTimeThroughMilliseconds = max(eventTimeThroughMilliseconds, through)
  }

  /// Adds a checked section straight from a record's bytes: no allocation.
  mutating func add(section bytes: UnsafeRawBufferPointer) {
    func double(_ at: Int) -> Double { Double(bitPattern: UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self))) }
    let sums = (double(8), double(16), double(24), double(32), double(40))
    // What is not finite would stay forever: left out whole, the same way by every replica.
    guard sums.0.isFinite, sums.1.isFinite, sums.2.isFinite, sums.3.isFinite, sums.4.isFinite else { return }
    addSums(examples: Int(UInt32(littleEndian: bytes.loadUnaligned(as: UInt32.self))), sums.0, sums.1, sums.2, sums.3, sums.4)
    let fixed = UpdateRecordLayout.validationFixedBytes
    for at in stride(from: fixed, to: bytes.count, by: 2) {
      bins[Int(UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: at, as: UInt16.self)))] &+= 1
    }
  }

  /// Adds what another shard, or another window, has seen.
  public mutating func merge(_ other: ValidationTotals) {
    addSums(
      examples: 0, other.weight, other.lossSum, other.labelSum, other.predictionSum, other.squaredErrorSum)
    examples &+= other.examples
    for i in bins.indices { bins[i] &+= other.bins[i] }
    extend(from: other.eventTimeFromMilliseconds, through: other.eventTimeThroughMilliseconds)
  }

  mutating func removeAll() {
    for i in bins.indices { bins[i] = 0 }
    examples = 0
    weight = 0
    lossSum = 0
    labelSum = 0
    predictionSum = 0
    squaredErrorSum = 0
    eventTimeFromMilliseconds = UpdateHeader.noTime
    eventTimeThroughMilliseconds = UpdateHeader.noTime
  }
}

extension ValidationSample {
  var sumsAreFinite: Bool { weight.isFinite && loss.isFinite && label.isFinite && prediction.isFinite && squaredError.isFinite }
}
