public import Logging
internal import Histogram
internal import NIOCore
internal import RPC
internal import Synchronization
internal import Telemetry

/// ModelInfer under load: unary or by stream, open loop (Poisson, latency from the time that a request was due) or closed loop (as fast as
/// the server answers).
public final class GRPCLoadTest: Sendable {
  /// How long after the last request its answer may come.
  public static let answerSecondsMax: Double = 10
  /// How long the connections may take.
  static let connectSecondsMax: Double = 30

  private let settings: GRPCLoadSettings
  private let profile: LoadProfile
  private let bodies: InferBodies
  private let logger: Logger
  private let stopping = Atomic<Bool>(false)

  public init(_ settings: GRPCLoadSettings, profile: LoadProfile, bodies: InferBodies, logger: Logger) {
    precondition((1...GRPCLoadSettings.threadsMax).contains(settings.threads), "\(settings.threads) threads")
    precondition((1...GRPCLoadSettings.connectionsMax).contains(settings.connections), "\(settings.connections) connections")
    self.settings = settings
    self.profile = profile
    self.bodies = bodies
    self.logger = logger
  }

  /// Ends the run early; what was measured so far is reported.
  public func requestStop() { stopping.store(true, ordering: .relaxed) }

  /// - Throws: `LoadTestError` when the server cannot be reached.
  public func run(progress: (LoadProgress) -> Void = { _ in }) async throws -> LoadReport {
    let channel = try RPCChannel(target: settings.target, settings: channelSettings, logger: logger)
    do {
      let (report, threads) = try await run(channel, progress)
      await channel.close()
      // Calls that were given up on end with the channel, and tell their thread.
      withExtendedLifetime(threads) {}
      return report
    } catch {
      await channel.close()
      throw error
    }
  }

  private var channelSettings: RPCChannelSettings {
    var channel = RPCChannelSettings()
    channel.loops = settings.threads
    channel.connections = settings.connectionsPerThread
    channel.tls = settings.tls
    return channel
  }

  private func run(_ channel: RPCChannel, _ progress: (LoadProgress) -> Void) async throws -> (LoadReport, [Handed<GRPCLoadThread>]) {
    try await waitUntilConnected(channel)
    let server = settings.serverProcess.flatMap { ProcessorTime(processIdentifier: $0) }
    if settings.serverProcess != nil && server == nil { throw LoadTestError("There is no process \(settings.serverProcess ?? 0).") }
    let timeline = Timeline(profile, startNanoseconds: MonotonicClock.nanoseconds() + 20_000_000)
    let threads = channel.loops.enumerated().map { index, client in
      Handed(GRPCLoadThread(settings, profile: profile, timeline: timeline, bodies: bodies, client: client, index: index))
    }
    let own = ProcessorTime()
    var usage = Usage(own: own.nanoseconds() ?? 0, server: server?.nanoseconds(), at: MonotonicClock.nanoseconds())
    for (thread, client) in zip(threads, channel.loops) { client.execute { _ in thread.value.begin() } }
    var nextProgress = timeline.startNanoseconds
    var isMeasuring = false
    var used: Usage?
    while !threads.allSatisfy({ $0.value.isFinished }) {
      try? await Task.sleep(nanoseconds: 5_000_000)
      let now = MonotonicClock.nanoseconds()
      if stopping.load(ordering: .relaxed) { for thread in threads { thread.value.requestStop() } }
      // Of the measured time only: no warm-up, no waiting for the last answers.
      if !isMeasuring && now >= timeline.measuredFromNanoseconds {
        isMeasuring = true
        usage = Usage(own: own.nanoseconds() ?? 0, server: server?.nanoseconds(), at: now)
      }
      if used == nil && now >= timeline.endNanoseconds {
        used = Usage(own: own.nanoseconds() ?? 0, server: server?.nanoseconds(), at: now)
      }
      if now >= nextProgress {
        nextProgress = now + 1_000_000_000
        progress(
          LoadProgress(
            seconds: Double(now - timeline.startNanoseconds) / 1e9, totalSeconds: profile.totalSeconds,
            sent: threads.reduce(0) { $0 + $1.value.sent }, answered: threads.reduce(0) { $0 + $1.value.answered }))
      }
    }
    let end = used ?? Usage(own: own.nanoseconds() ?? 0, server: server?.nanoseconds(), at: MonotonicClock.nanoseconds())
    return (report(threads.map(\.value), timeline, limit: end.limit(since: usage, settings.threads, server)), threads)
  }

  private func waitUntilConnected(_ channel: RPCChannel) async throws {
    let deadline = MonotonicClock.nanoseconds() + Int64(Self.connectSecondsMax * 1e9)
    let wanted = settings.connectionsPerThread
    let all = wanted * channel.loops.count
    var ready = 0
    for loop in channel.loops { loop.execute { $0.connect() } }
    while true {
      let isLate = MonotonicClock.nanoseconds() > deadline
      let isStopped = stopping.load(ordering: .relaxed)
      guard !isLate && !isStopped else {
        throw LoadTestError(
          "\(ready) of \(all) connections to \(settings.target) were there "
            + (isStopped ? "when the test was stopped." : "after \(Int(Self.connectSecondsMax)) s."))
      }
      ready = 0
      for loop in channel.loops { ready += try await loop.eventLoop.submit { loop.readyConnections }.get() }
      if ready >= all { return }
      try? await Task.sleep(nanoseconds: 5_000_000)
    }
  }

  private struct Usage {
    var own: Int64
    var server: Int64?
    var at: Int64

    func limit(since start: Usage, _ threads: Int, _ process: ProcessorTime?) -> LoadLimit {
      let seconds = Double(max(1, at - start.at))
      var busy: Double?
      if let server, let before = start.server { busy = Double(server - before) / seconds }
      return LoadLimit(
        generatorProcessors: Double(own - start.own) / seconds, generatorThreads: threads, serverProcessors: busy,
        serverProcessorsMax: busy == nil ? nil : process?.processors())
    }
  }

  private func report(_ threads: [GRPCLoadThread], _ timeline: Timeline, limit: LoadLimit) -> LoadReport {
    let recorder = LatencyRecorder(timeline)
    var lateness = Histogram<UInt64>(
      lowestDiscernibleValue: 64, highestTrackableValue: LatencyRecorder.nanosecondsMax, numberOfSignificantValueDigits: .three)
    var outcome = OpenLoopDriver.Outcome(
      offered: Array(repeating: 0, count: timeline.stepCount), refused: Array(repeating: 0, count: timeline.stepCount),
      offeredBySlice: Array(repeating: 0, count: timeline.sliceCount), lateness: .none, eventCount: 0,
      wasStopped: stopping.load(ordering: .relaxed))
    var reasons: [String: Int] = [:]
    for thread in threads {
      recorder.merge(thread.recorder)
      lateness.add(thread.lateness)
      for step in outcome.offered.indices { outcome.offered[step] += thread.offered[step] }
      for slice in outcome.offeredBySlice.indices { outcome.offeredBySlice[slice] += thread.offeredBySlice[slice] }
      outcome.eventCount += thread.sent
      for code in RPCCode.allCases where thread.codes[Int(code.rawValue)] > 0 {
        let text = thread.texts[code].flatMap { $0.isEmpty ? nil : ", first: \($0)" } ?? ""
        reasons["\(code)\(text)", default: 0] += thread.codes[Int(code.rawValue)]
      }
      reasons["answers that were no answers", default: 0] += thread.wrongAnswers
      reasons["not sent: \(GRPCLoadSettings.waitingMax) waited for answers", default: 0] += thread.unsent
      reasons["not answered within \(Int(Self.answerSecondsMax)) s of the end", default: 0] += thread.unanswered
    }
    outcome.lateness = LatencySummary(lateness)
    var details = [
      ("server", "\(settings.target)"), ("call", settings.call == .unary ? "ModelInfer" : "ModelStreamInfer"),
      ("connections", String(settings.threads * settings.connectionsPerThread)), ("bodies", String(bodies.count)),
      ("bytes per request", String(Int(bodies.bytesPerRequest))),
    ]
    var title = "ModelInfer"
    var measured = "from the time a request was due to its answer, one monotonic clock"
    if case .closed(let inFlight) = settings.load {
      title = "ModelInfer, closed loop"
      details.append(("in flight on each", String(inFlight)))
      measured = "from the sending of a request to its answer"
    } else {
      details.append(("arrivals", "\(profile.arrivals.rawValue), seed \(profile.seed)"))
    }
    if settings.answers == .echo { title += ", echoed" }
    var report = LoadReport(
      title: title, measured: measured, details: details, profile: profile, outcome: outcome, recorder: recorder, errorReasons: reasons)
    report.limit = limit
    if case .closed = settings.load {
      report.isClosedLoop = true
      for step in report.steps.indices { report.steps[step].targetPerSecond = report.steps[step].offeredPerSecond }
    }
    return report
  }
}
