// Hot: `sums` of each batch.
internal import Families
internal import Model
internal import Synchronization

/// Sums of a forest's leaves for rows of floats or doubles: packed, or node by node where no packed form fits. Immutable; what a thread needs
/// is made when it first prepares.
final class ForestRunner: @unchecked Sendable {
  let outputCount: Int
  private let packed: PackedForest?
  private let description: ForestDescription
  private let lock = Mutex<Void>(())
  /// Under the lock.
  private var scratches: [PackedForest.Scratch] = []

  init(_ description: ForestDescription, features: Int, _ node: NodeContext) throws(ONNXError) {
    self.description = description
    outputCount = description.outputCount
    if let ensemble = description.ensemble(features: features) {
      do throws(TreeError) { packed = try PackedForest(ensemble) } catch { throw node.error("\(error)") }
    } else {
      packed = nil
    }
  }

  /// Makes a thread's memory, whose address stands in its state from then on; it lives as long as the model.
  func prepare(_ state: UnsafeMutableRawPointer, rows: Int) {
    guard let packed else { return }
    let slot = state.assumingMemoryBound(to: UInt.self)
    if slot.pointee == 0 {
      guard let scratch = try? PackedForest.Scratch(packed, rowsMax: rows) else { preconditionFailure("memory is out") }
      lock.withLock { _ in scratches.append(scratch) }
      slot.pointee = UInt(bitPattern: Unmanaged.passUnretained(scratch).toOpaque())
    }
    scratch(state)?.reserve(rows: rows)
  }

  @inline(__always) private func scratch(_ state: UnsafeMutableRawPointer) -> PackedForest.Scratch? {
    UnsafeRawPointer(bitPattern: state.assumingMemoryBound(to: UInt.self).pointee).map { Unmanaged<PackedForest.Scratch>.fromOpaque($0).takeUnretainedValue() }
  }

  /// `sums`: [rows, outputCount], without a base.
  func sums(_ input: UnsafeRawPointer, isDouble: Bool, rows: Int, columns: Int, state: UnsafeMutableRawPointer, into sums: UnsafeMutablePointer<Double>) {
    if let packed, let scratch = scratch(state) {
      packed.score(
        input, stride: columns &* (isDouble ? 8 : 4), of: isDouble ? .double : .float, count: rows, into: sums, of: .double, scratch: scratch)
      return
    }
    for row in 0..<rows {
      if isDouble {
        walk(input.assumingMemoryBound(to: Double.self) + row &* columns, sums + row &* outputCount)
      } else {
        walk(input.assumingMemoryBound(to: Float.self) + row &* columns, sums + row &* outputCount)
      }
    }
  }

  /// Node by node.
  private func walk<X: RowNumber>(_ row: UnsafePointer<X>, _ sums: UnsafeMutablePointer<Double>) {
    // Of the least and the most, NaN stands for no tree that spoke of the output.
    let isExtreme = description.aggregate == .least || description.aggregate == .most
    sums.update(repeating: isExtreme ? .nan : 0, count: outputCount)
    for root in description.roots {
      var at = root
      while at >= 0 {
        let node = description.nodes[at]
        at = isTrue(node, row[node.feature].wide) ? node.whenTrue : node.whenFalse
      }
      for weight in description.weights[description.leaves[~at]] {
        switch description.aggregate {
        case .sum, .average: sums[weight.output] += weight.value
        case .least: if !(sums[weight.output] <= weight.value) { sums[weight.output] = weight.value }
        case .most: if !(sums[weight.output] >= weight.value) { sums[weight.output] = weight.value }
        }
      }
    }
    if isExtreme { for output in 0..<outputCount where sums[output].isNaN { sums[output] = 0 } }
    if description.aggregate == .average { for output in 0..<outputCount { sums[output] /= Double(max(1, description.roots.count)) } }
  }

  private func isTrue(_ node: ForestDescription.Node, _ value: Double) -> Bool {
    if node.missingTracksTrue && value.isNaN { return true }
    switch node.mode {
    case .lessOrEqual: return value <= node.threshold
    case .less: return value < node.threshold
    case .greaterOrEqual: return value >= node.threshold
    case .greater: return value > node.threshold
    case .equal: return value == node.threshold
    case .notEqual: return value != node.threshold
    case .member:
      for member in node.members where description.members[member] == value { return true }
      return false
    }
  }
}
