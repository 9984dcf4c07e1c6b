public import Telemetry
import UpdateLog

/// What one host tells about itself. Names are the same for all models and arms; labels tell them apart.
public final class ReplicaHostMetrics: Sendable {
  public let ready: Gauge
  public let restarts: Counter
  public let restores: Counter
  public let accepted: Counter
  let dropped: [String: Counter]
  let droppedOther: Counter
  public let beacons: Counter
  /// From a label's produce call until its record was applied here.
  public let freshness: LatencyHistogram
  /// Seconds since the last record or beacon of the most silent shard.
  public let staleness: Gauge
  public let examplesLearned: Counter
  public let examplesInvalid: Counter
  public let trainerResyncs: Counter
  public let inFlightExamples: Gauge
  public let logLoss: Gauge
  public let logLossWindow: Gauge
  public let areaUnderCurve: Gauge
  public let areaUnderCurveWindow: Gauge
  public let calibration: Gauge
  public let calibrationWindow: Gauge
  public let validatedExamples: Gauge
  public let labelsThrough: Gauge
  public let rows: Gauge
  public let sourcesLost: Counter
  public let checkpoints: Counter
  public let checkpointsFailed: Counter
  let positions: [Gauge]

  init(_ registry: Registry, model: String, arm: String, shards: Int) {
    let labels = [("model", model), ("arm", arm)]
    func of(_ key: String, _ value: String) -> [(String, String)] { labels + [(key, value)] }
    ready = registry.gauge("millrace_replicas_ready", "1 while the replicas have caught up and serve.", labels: labels)
    restarts = registry.counter("millrace_replica_restarts_total", "Times that the replicas stopped serving and started over.", labels: labels)
    restores = registry.counter("millrace_replica_restores_total", "Times that the replicas went back to a checkpoint, or to the beginning.", labels: labels)
    accepted = registry.counter("millrace_update_records_total", "Update records by outcome.", labels: of("outcome", "accepted"))
    var dropped: [String: Counter] = [:]
    for reason in ReplicaHostMetrics.dropReasons {
      dropped[reason] = registry.counter("millrace_update_records_total", "Update records by outcome.", labels: of("outcome", reason))
    }
    self.dropped = dropped
    droppedOther = registry.counter("millrace_update_records_total", "Update records by outcome.", labels: of("outcome", "other"))
    beacons = registry.counter("millrace_beacons_sent_total", "Beacon records appended to silent partitions.", labels: labels)
    freshness = registry.histogram("millrace_freshness_seconds", "From a label's produce call until a replica has applied it.", labels: labels)
    staleness = registry.gauge("millrace_staleness_seconds", "Time since the last record or beacon of the most silent shard.", labels: labels)
    examplesLearned = registry.counter("millrace_examples_learned_total", "Examples taken by this trainer, repeats included.", labels: labels)
    examplesInvalid = registry.counter("millrace_examples_invalid_total", "Examples that could not be decoded: passed over.", labels: labels)
    trainerResyncs = registry.counter("millrace_trainer_resyncs_total", "Times that a trainer discarded what it had in flight.", labels: labels)
    inFlightExamples = registry.gauge("millrace_trainer_in_flight_examples", "Examples sent and not applied yet.", labels: labels)
    logLoss = registry.gauge("millrace_validation_loss", "Progressive validation: mean loss.", labels: of("over", "total"))
    logLossWindow = registry.gauge("millrace_validation_loss", "Progressive validation: mean loss.", labels: of("over", "window"))
    areaUnderCurve = registry.gauge("millrace_validation_auc", "Progressive validation: area under the ROC curve.", labels: of("over", "total"))
    areaUnderCurveWindow = registry.gauge("millrace_validation_auc", "Progressive validation: area under the ROC curve.", labels: of("over", "window"))
    calibration = registry.gauge("millrace_validation_calibration", "Progressive validation: sum of predictions over sum of labels.", labels: of("over", "total"))
    calibrationWindow = registry.gauge("millrace_validation_calibration", "Progressive validation: sum of predictions over sum of labels.", labels: of("over", "window"))
    validatedExamples = registry.gauge("millrace_validation_examples", "Examples in progressive validation.", labels: labels)
    labelsThrough = registry.gauge("millrace_labels_through_seconds", "Greatest label event time applied, seconds since 1970.", labels: labels)
    rows = registry.gauge("millrace_rows", "Rows in the tables.", labels: labels)
    sourcesLost = registry.counter("millrace_examples_partitions_lost_total", "Examples partitions whose next offset was deleted before it was learned.", labels: labels)
    checkpoints = registry.counter("millrace_checkpoints_total", "Checkpoints by outcome.", labels: of("outcome", "written"))
    checkpointsFailed = registry.counter("millrace_checkpoints_total", "Checkpoints by outcome.", labels: of("outcome", "failed"))
    positions = (0..<shards).map {
      registry.gauge("millrace_replica_position", "Next update log offset to apply.", labels: of("shard", "\($0)"))
    }
  }

  /// What the acceptance rule can say, and bytes that are no record.
  static let dropReasons = DropReason.allCases.map(\.name) + ["invalid"]

  func drop(_ reason: String) { (dropped[reason] ?? droppedOther).add() }

  func validation(_ total: ValidationTotals, window: ValidationTotals) {
    validatedExamples.set(Double(total.examples))
    guard total.examples > 0 else { return }
    logLoss.set(total.meanLoss)
    areaUnderCurve.set(total.auc)
    calibration.set(total.calibration)
    guard window.examples > 0 else { return }
    logLossWindow.set(window.meanLoss)
    areaUnderCurveWindow.set(window.auc)
    calibrationWindow.set(window.calibration)
  }
}
