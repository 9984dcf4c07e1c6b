// Hot: everything between `begin` and the end of a run. No allocation per request.
internal import Histogram
internal import NIOCore
internal import RPC
internal import Synchronization
internal import Telemetry

/// One event loop's part of a gRPC load test: sends what is due on it and takes the answers. All on that loop's thread; the counts that a
/// progress line shows are atomic.
final class GRPCLoadThread: @unchecked Sendable, NIOScheduledCallbackHandler {
  /// Requests sent before the loop looks for answers again.
  static let requestsPerTurnMax = 256
  /// It looks around at least so often.
  static let restNanoseconds: Int64 = 10_000_000

  private let settings: GRPCLoadSettings
  private let profile: LoadProfile
  private let timeline: Timeline
  private let bodies: InferBodies
  private let client: LoopClient
  @exclusivity(unchecked) private var method: PreparedMethod?
  private let isClosedLoop: Bool
  /// This thread's share of the rate.
  private let share: Double

  let recorder: LatencyRecorder
  @exclusivity(unchecked) private(set) var offered: [Int]
  @exclusivity(unchecked) private(set) var offeredBySlice: [Int]
  @exclusivity(unchecked) private(set) var lateness = Histogram<UInt64>(
    lowestDiscernibleValue: 64, highestTrackableValue: LatencyRecorder.nanosecondsMax, numberOfSignificantValueDigits: .three)
  /// Answers that were errors, by status code.
  @exclusivity(unchecked) private(set) var codes: [Int] = Array(repeating: 0, count: RPCCode.allCases.count)
  @exclusivity(unchecked) private(set) var wrongAnswers = 0
  @exclusivity(unchecked) private(set) var unsent = 0
  /// Requests that were given up on at the end.
  @exclusivity(unchecked) private(set) var unanswered = 0
  private(set) var processorNanoseconds: Int64 = 0
  /// The text of the first error of each code.
  private(set) var texts: [RPCCode: String] = [:]

  @exclusivity(unchecked) private var arrivals: ArrivalProcess
  @exclusivity(unchecked) private var due: Double
  @exclusivity(unchecked) private var next: Int
  @exclusivity(unchecked) private var waiting = 0
  /// Closed loop: requests that are to follow failed ones.
  @exclusivity(unchecked) private var owed = 0
  @exclusivity(unchecked) private var streams: [GRPCLoadStream] = []
  @exclusivity(unchecked) private var streamCursor = 0
  private var processorAtStart: Int64 = 0
  @exclusivity(unchecked) private var isOver = false

  private let sentCount = Atomic<Int>(0)
  private let answeredCount = Atomic<Int>(0)
  private let stopping = Atomic<Bool>(false)
  private let finished = Atomic<Bool>(false)
  @exclusivity(unchecked) private var completion: Completion?

  init(
    _ settings: GRPCLoadSettings, profile: LoadProfile, timeline: Timeline, bodies: InferBodies, client: LoopClient, index: Int
  ) {
    self.settings = settings
    self.profile = profile
    self.timeline = timeline
    self.bodies = bodies
    self.client = client
    if case .closed = settings.load { isClosedLoop = true } else { isClosedLoop = false }
    share = 1 / Double(settings.threads)
    recorder = LatencyRecorder(timeline)
    offered = Array(repeating: 0, count: timeline.stepCount)
    offeredBySlice = Array(repeating: 0, count: timeline.sliceCount)
    arrivals = ArrivalProcess(profile.arrivals, seed: profile.seed &+ UInt64(index) &* 0x9E37_79B9)
    due = Double(timeline.startNanoseconds)
    // Threads begin at different bodies.
    next = bodies.count / settings.threads * index
  }

  static let inferPath = MethodPath(service: "inference.GRPCInferenceService", method: "ModelInfer")
  static let streamPath = MethodPath(service: "inference.GRPCInferenceService", method: "ModelStreamInfer")

  var sent: Int { sentCount.load(ordering: .relaxed) }
  var answered: Int { answeredCount.load(ordering: .relaxed) }
  /// Set when nothing of this thread changes any more.
  var isFinished: Bool { finished.load(ordering: .acquiring) }
  func requestStop() { stopping.store(true, ordering: .relaxed) }

  // MARK: Sending

  /// On the loop's thread, once; the connections should be there.
  func begin() {
    processorAtStart = threadProcessorNanoseconds()
    let method = client.prepare(
      settings.call == .unary ? Self.inferPath : Self.streamPath, timeoutMicroseconds: settings.timeoutMilliseconds * 1_000)
    self.method = method
    completion = Completion(self)
    if settings.call == .stream {
      for index in 0..<settings.connectionsPerThread {
        streams.append(GRPCLoadStream(self, client, method, index: index, isEcho: settings.answers == .echo))
      }
    }
    guard case .closed(let inFlight) = settings.load else { return turn() }
    let now = MonotonicClock.nanoseconds()
    for _ in 0..<inFlight {
      for connection in 0..<settings.connectionsPerThread { send(now, stream: connection) }
    }
    client.flush()
    wake(at: now + Self.restNanoseconds)
  }

  func handleScheduledCallback(eventLoop: some EventLoop) { turn() }

  /// Sends what is due, then sleeps until the next is. What is late is sent at once and still counts from when it was due.
  private func turn() {
    guard !isOver else { return }
    var now = MonotonicClock.nanoseconds()
    if isClosedLoop || due >= Double(timeline.endNanoseconds) || stopping.load(ordering: .relaxed) {
      if finishIfDone(now) { return }
      sendAgain(now)
      return wake(at: now + Self.restNanoseconds)
    }
    var count = 0
    while count < Self.requestsPerTurnMax {
      let intended = Int64(due)
      guard intended < timeline.endNanoseconds else { break }
      if intended > now {
        if count & 7 != 0 { now = MonotonicClock.nanoseconds() }
        if intended > now { break }
      }
      count &+= 1
      lateness.record(min(UInt64(max(0, now &- intended)), LatencyRecorder.nanosecondsMax - 1))
      send(intended, stream: -1)
      due += arrivals.gapNanoseconds(ratePerSecond: rate(at: Int64(due)) * share)
    }
    if count > 0 { client.flush() }
    sentCount.store(next, ordering: .relaxed)
    wake(at: min(max(Int64(due), now + (count > 0 ? Int64(settings.gatherMicroseconds) * 1_000 : 0)), timeline.endNanoseconds))
  }

  /// Closed loop: requests that failed are followed by others a little later, so that a server that refuses everything is not asked as fast
  /// as it refuses.
  private func sendAgain(_ now: Int64) {
    guard owed > 0, now < timeline.endNanoseconds, !stopping.load(ordering: .relaxed) else { return }
    let count = owed
    owed = 0
    for _ in 0..<count { send(now, stream: -1) }
    client.flush()
  }

  private func wake(at nanoseconds: Int64) {
    let time = NIODeadline.uptimeNanoseconds(UInt64(max(0, min(nanoseconds, MonotonicClock.nanoseconds() + Self.restNanoseconds))))
    // Refused only by a loop that shuts down.
    _ = try? client.eventLoop.scheduleCallback(at: time, handler: self)
  }

  private func rate(at nanoseconds: Int64) -> Double {
    profile.steps[timeline.step(at: nanoseconds) ?? 0].ratePerSecond
  }

  @inline(__always)
  private func send(_ intended: Int64, stream: Int) {
    if let step = timeline.step(at: intended) {
      offered[step] &+= 1
      if let slice = timeline.slice(at: intended) { offeredBySlice[slice] &+= 1 }
    }
    guard waiting < GRPCLoadSettings.waitingMax, let method, let completion else {
      unsent &+= 1
      return
    }
    let body = bodies[next]
    next &+= 1
    waiting &+= 1
    if settings.call == .unary {
      client.start(method, body, token: UInt64(bitPattern: intended), completion: completion)
    } else {
      var place = stream
      if place < 0 {
        streamCursor = streamCursor &+ 1 < streams.count ? streamCursor &+ 1 : 0
        place = streamCursor
      }
      streams[place].send(body, intended)
    }
  }

  // MARK: Answers

  @inline(__always)
  func answered(_ intended: Int64, isRight: Bool, stream: Int) {
    let now = MonotonicClock.nanoseconds()
    waiting &-= 1
    if isRight { recorder.record(intendedNanoseconds: intended, nowNanoseconds: now) } else { wrongAnswers &+= 1 }
    answeredCount.store(answeredCount.load(ordering: .relaxed) &+ 1, ordering: .relaxed)
    if isClosedLoop && now < timeline.endNanoseconds && !stopping.load(ordering: .relaxed) {
      send(now, stream: stream)
      sentCount.store(next, ordering: .relaxed)
    } else if waiting <= 0 {
      _ = finishIfDone(now)
    }
  }

  /// So many requests have ended with an error. Rare: may allocate.
  func failed(_ code: RPCCode, _ text: UnsafeRawBufferPointer, requests: Int = 1) {
    waiting &-= requests
    if isClosedLoop { owed &+= requests }
    codes[Int(code.rawValue)] &+= requests
    if texts[code] == nil { texts[code] = String(decoding: text.prefix(200), as: UTF8.self) }
    answeredCount.store(answeredCount.load(ordering: .relaxed) &+ requests, ordering: .relaxed)
    if waiting <= 0 { _ = finishIfDone(MonotonicClock.nanoseconds()) }
  }

  /// The time is up and every answer is there, or none has to be waited for any longer.
  private func finishIfDone(_ now: Int64) -> Bool {
    guard !isOver else { return true }
    let isStopped = stopping.load(ordering: .relaxed)
    // Open loop: a thread that woke up late still owes what was due before the end.
    let isAllSent = isClosedLoop || due >= Double(timeline.endNanoseconds)
    guard isStopped || (now >= timeline.endNanoseconds && isAllSent) else { return false }
    guard waiting <= 0 || now >= timeline.endNanoseconds + Int64(GRPCLoadTest.answerSecondsMax * 1e9) else { return false }
    isOver = true
    unanswered = max(0, waiting)
    processorNanoseconds = threadProcessorNanoseconds() - processorAtStart
    for stream in streams { stream.finish() }
    client.flush()
    finished.store(true, ordering: .releasing)
    return true
  }

  // MARK: Calls

  private final class Completion: UnaryCompletion {
    /// Outlives the last call.
    private unowned(unsafe) let thread: GRPCLoadThread

    init(_ thread: GRPCLoadThread) { self.thread = thread }

    override func completed(token: UInt64, status: RPCCode, message: UnsafeRawBufferPointer) {
      guard status == .ok else { return thread.failed(status, message) }
      // Every answer names its model; an echo is a request, which does.
      thread.answered(Int64(bitPattern: token), isRight: message.count > 0, stream: -1)
    }
  }
}
