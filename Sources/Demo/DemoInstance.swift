public import Events
public import Kafka
public import Telemetry

/// The running system that a replay talks to: over Kafka, and for two things that only its own process can tell, by closures.
public struct DemoInstance: Sendable {
  public var kafka: KafkaSettings
  public var featuresTopic: String
  public var labelsTopic: String
  public var predictionsTopic: String
  public var model: String
  public var version: Int
  /// The arms that answer every question, as their predictions name them.
  public var arms: [String]
  /// The arm that learns as labels land.
  public var onlineArm: String
  /// Returns once the online arm has applied, on every shard, what the labels before these offsets teach: element p is the next offset of
  /// partition p. Throws when it gives up. Nil when the system is another process: then there is no lockstep.
  public var waitUntilLabelsApplied: (@Sendable (_ nextOffsets: [Int64]) throws -> Void)?
  /// Where clients can ask the online arm meanwhile, for people to read; nil: nowhere.
  public var endpoint: String?
  /// Label produced until applied, over the whole run; nil when not known.
  public var freshness: (@Sendable () -> HistogramSnapshot)?

  public init(
    kafka: KafkaSettings, featuresTopic: String = "features", labelsTopic: String = "labels", predictionsTopic: String = "predictions",
    model: String, version: Int = 1, arms: [String] = ["frozen", "nightly", "online"], onlineArm: String = "online",
    waitUntilLabelsApplied: (@Sendable (_ nextOffsets: [Int64]) throws -> Void)? = nil, freshness: (@Sendable () -> HistogramSnapshot)? = nil,
    endpoint: String? = nil
  ) {
    self.kafka = kafka
    self.featuresTopic = featuresTopic
    self.labelsTopic = labelsTopic
    self.predictionsTopic = predictionsTopic
    self.model = model
    self.version = version
    self.arms = arms
    self.onlineArm = onlineArm
    self.waitUntilLabelsApplied = waitUntilLabelsApplied
    self.freshness = freshness
    self.endpoint = endpoint
  }
}

/// How a stream is replayed.
public struct ReplaySettings: Sendable, Equatable {
  public enum Pace: Sendable, Equatable {
    /// Event time in steps: labels that landed before a tick began are applied, then the tick's questions are asked and awaited.
    case lockstep(tickMilliseconds: Int64)
    /// So many times as fast as the clock, whatever the system does. `infinity`: as fast as it takes them.
    case speed(Double)
  }

  public var pace: Pace
  public var form: EventForm
  /// Without an answer for so long the replay gives up and says what is missing.
  public var patienceMilliseconds: Int64
  /// Questions that may wait for their answers at full speed. Few, as labels are learned while they wait: a thousand flights are a day.
  public var inFlightMax: Int

  public init(
    pace: Pace = .lockstep(tickMilliseconds: 900_000), form: EventForm = .protobuf, patienceMilliseconds: Int64 = 60_000,
    inFlightMax: Int = 1000
  ) {
    self.pace = pace
    self.form = form
    self.patienceMilliseconds = patienceMilliseconds
    self.inFlightMax = inFlightMax
  }
}

/// Why a replay ended before its stream did.
public enum ReplayError: Error, Sendable, CustomStringConvertible {
  case kafka(KafkaError)
  /// The topics do not fit together, or the instance cannot do what was asked.
  case setup(String)
  /// The system answered a question with an error.
  case refused(String)
  /// Nothing came for as long as the patience lasts.
  case stalled(String)
  /// The labels' effect did not arrive.
  case notApplied(String)
  /// Somebody asked to stop.
  case stopped

  public var description: String {
    switch self {
    case .kafka(let error): "\(error)"
    case .setup(let text), .refused(let text), .stalled(let text), .notApplied(let text): text
    case .stopped: "stopped before the end"
    }
  }
}
