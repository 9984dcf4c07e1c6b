// Hot: no allocation but when the table grows.
internal import CKernels

/// Strictly sequential FTRL-Proximal in one thread: each example is predicted, then learned, before the next. No log, no replicas: the
/// yardstick for those, and what `millrace bench ftrl` measures.
public final class SequentialLearner {
  public enum Loss: Int32, Sendable {
    case logistic = 1
    case squared = 2
    case poisson = 3
  }

  private let table: OpaquePointer
  private var ftrl: mr_ftrl
  private let loss: Loss

  /// Entries of one example that are learned; what lies beyond is left out.
  public static let entriesMax = 256

  /// Nil when memory is out.
  public init?(_ ftrl: FTRL, loss: Loss, rowsExpected: Int = 0) {
    guard let table = mr_table_create(UInt64(max(0, rowsExpected))) else { return nil }
    self.table = table
    self.ftrl = ftrl.c
    self.loss = loss
  }

  deinit { mr_table_destroy(table) }

  /// Brings the rows of a coming example nearer.
  public func prefetch(_ ids: UnsafePointer<UInt64>, count: Int) { mr_table_prefetch(table, ids, count) }

  /// Predicts and learns one example; returns the sum of weights times values before learning. NaN when memory is out.
  public func learn(_ ids: UnsafePointer<UInt64>, _ values: UnsafePointer<Float>, count: Int, label: Float, weight: Float = 1) -> Float {
    mr_table_learn(table, &ftrl, loss.rawValue, ids, values, count, label, weight)
  }

  public var rows: Int { Int(mr_table_rows(table)) }
}
