import Events
import Learning
import Model

/// SplitMix64, so that a printed seed repeats a run.
struct SeededRandom: RandomNumberGenerator {
  private var state: UInt64
  init(seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
  mutating func chance(_ probability: Double) -> Bool { Double(next() >> 11) * 0x1p-53 < probability }
}

/// One partition's three logs, joiners that read and append to them, and everything that can go wrong between: all from one seed.
final class JoinerSimulation {
  struct Record {
    var id: [UInt8]
    var time: Int64
    var value: Double
    var bytes: [UInt8]
  }

  struct Faults {
    var lose = 0.0
    var duplicate = 0.0
    var delay = 0.0
    var crash = 0.0
    var pause = 0.0
    static let none = Faults()
    static let many = Faults(lose: 0.02, duplicate: 0.05, delay: 0.1, crash: 0.003, pause: 0.003)
  }

  final class Node {
    var joiner: Joiner
    var features = 0
    var labels = 0
    var examples = 0
    var pausedUntil = 0
    init(_ joiner: Joiner) { self.joiner = joiner }
  }

  var random: SeededRandom
  var settings: JoinerSettings
  var features: [Record] = []
  var labels: [Record] = []
  var examples: [[UInt8]] = []
  private var onTheWay: [(step: Int, bytes: [UInt8])] = []
  private(set) var nodes: [Node] = []
  private(set) var step = 0
  private(set) var nanoseconds: Int64 = 0
  private(set) var crashes = 0
  private(set) var restarts = 0
  private(set) var deadLetters: [Int64: Joiner.LabelProblem] = [:]
  var faults = Faults.none
  /// Changes headers on their way into the log: rules taken out.
  var tamper: ((inout ExampleBatchHeader) -> Void)?
  static let wallMilliseconds: Int64 = 2_000_000_000_000

  init(seed: UInt64, settings: JoinerSettings) {
    random = SeededRandom(seed: seed)
    self.settings = settings
  }

  func addNode() { nodes.append(Node(makeJoiner())) }

  func keepOneNode() {
    nodes = [Node(makeJoiner())]
    faults = .none
  }

  private func makeJoiner() -> Joiner {
    let joiner = Joiner(settings, seed: random.next())
    joiner.onBatch = { [unowned self] batch, record in send(batch, record) }
    joiner.onDeadLetter = { [unowned self] offset, problem, _, record in
      precondition(record.elementsEqual(labels[Int(offset)].bytes), "a dead letter holds its record")
      deadLetters[offset] = problem
    }
    return joiner
  }

  // MARK: The log

  private func send(_ batch: Joiner.Batch, _ record: UnsafeRawBufferPointer) {
    var bytes = Array(record)
    if let tamper {
      let reader = ExampleReader()
      let writer = ExampleWriter()
      bytes.withUnsafeBytes { raw in
        precondition(reader.read(raw))
        var header = reader.header
        tamper(&header)
        var example = ExampleView()
        while reader.next(&example) { writer.append(example) }
        bytes = Array(writer.finish(header))
      }
    }
    if random.chance(faults.lose) { return }
    let copies = random.chance(faults.duplicate) ? 2 : 1
    for copy in 0..<copies {
      let isLate = copy > 0 || random.chance(faults.delay)
      // Without faults a producer keeps the order: never before what was sent earlier.
      let earliest = faults.delay == 0 ? max(step, onTheWay.last?.step ?? 0) : step
      onTheWay.append((earliest + Int.random(in: 0...(isLate ? 60 : 3), using: &random), bytes))
    }
  }

  private func deliver() {
    var rest: [(step: Int, bytes: [UInt8])] = []
    for item in onTheWay {
      if item.step <= step { examples.append(item.bytes) } else { rest.append(item) }
    }
    onTheWay = rest
  }

  // MARK: Steps

  func run(steps: Int) {
    for _ in 0..<steps { runStep() }
  }

  func runStep() {
    step += 1
    nanoseconds += Int64.random(in: 0...2_000_000, using: &random)
    deliver()
    for node in nodes {
      if random.chance(faults.crash) {
        crashes += 1
        restarts += node.joiner.counts.restarts
        node.joiner = makeJoiner()
        node.features = 0
        node.labels = 0
        node.examples = 0
      }
      if random.chance(faults.pause) { node.pausedUntil = step + Int.random(in: 1...300, using: &random) }
      if step >= node.pausedUntil { turn(node) }
    }
  }

  /// Lets simulated time pass while nothing is read.
  func pass(milliseconds: Int64) { nanoseconds += milliseconds * 1_000_000 }

  private func turn(_ node: Node) {
    let joiner = node.joiner
    if joiner.phase == .idle {
      guard nanoseconds >= joiner.startNanoseconds else { return }
      joiner.tell(nowNanoseconds: nanoseconds, wallMilliseconds: Self.wallMilliseconds)
      joiner.start(
        .init(examples: 0..<Int64(examples.count), features: 0..<Int64(features.count), labels: 0..<Int64(labels.count)),
        nowNanoseconds: nanoseconds)
    }
    joiner.tell(nowNanoseconds: nanoseconds, wallMilliseconds: Self.wallMilliseconds)
    seek(node)
    var order = [0, 1, 2]
    order.shuffle(using: &random)
    for source in order {
      let most = Int.random(in: 0...12, using: &random)
      switch source {
      case 0: readExamples(node, most)
      case 1: readFeatures(node, most)
      default: readLabels(node, most)
      }
      seek(node)
    }
    joiner.turn(nowNanoseconds: nanoseconds)
    seek(node)
  }

  private func seek(_ node: Node) {
    if let offset = node.joiner.seekExamples { node.examples = Int(offset); node.joiner.seekExamples = nil }
    if let offset = node.joiner.seekFeatures { node.features = Int(offset); node.joiner.seekFeatures = nil }
    if let offset = node.joiner.seekLabels { node.labels = Int(offset); node.joiner.seekLabels = nil }
  }

  private func readExamples(_ node: Node, _ most: Int) {
    guard node.joiner.readsExamples else { return }
    for _ in 0..<(most + 4) where node.examples < examples.count {
      examples[node.examples].withUnsafeBytes {
        node.joiner.examples(offset: Int64(node.examples), value: $0, contentType: nil)
      }
      node.examples += 1
    }
    if node.examples == examples.count { node.joiner.reachedExamples(Int64(node.examples)) }
  }

  private func readFeatures(_ node: Node, _ most: Int) {
    guard node.joiner.readsFeatures else { return }
    for _ in 0..<most where node.features < features.count {
      let record = features[node.features]
      record.id.withUnsafeBytes { id in
        record.bytes.withUnsafeBytes { bytes in
          node.joiner.feature(offset: Int64(node.features), id: id, timeMilliseconds: record.time, form: .json, record: bytes)
        }
      }
      node.features += 1
    }
    if node.features == features.count { node.joiner.reachedFeatures(Int64(node.features)) }
  }

  private func readLabels(_ node: Node, _ most: Int) {
    guard node.joiner.readsLabels else { return }
    for _ in 0..<most where node.labels < labels.count {
      let record = labels[node.labels]
      record.id.withUnsafeBytes { id in
        record.bytes.withUnsafeBytes { bytes in
          node.joiner.label(
            offset: Int64(node.labels), id: id, timeMilliseconds: record.time, value: record.value, weight: 1, form: .json, record: bytes)
        }
      }
      node.labels += 1
    }
    if node.labels == labels.count { node.joiner.reachedLabels(Int64(node.labels)) }
  }

  /// For a failed run.
  func describe() -> String {
    nodes.map { node in
      "\(node.joiner.phase) \(node.joiner.accepted) failure \(String(describing: node.joiner.failure)) at \(node.joiner.positions) in flight \(node.joiner.inFlightBatches) read \(node.features) \(node.labels) \(node.examples) of \(features.count) \(labels.count) \(examples.count) waiting \(node.joiner.waitingEvents) \(node.joiner.waitingLabels) reads \(node.joiner.readsFeatures) \(node.joiner.readsLabels) \(node.joiner.counts)"
    }.joined(separator: "; ")
  }

  var isSettled: Bool {
    nodes.allSatisfy { node in
      node.joiner.isSettled && node.joiner.positions.features == Int64(features.count)
        && node.joiner.positions.labels == Int64(labels.count) && node.joiner.waitingEvents == 0 && node.joiner.waitingLabels == 0
    } && onTheWay.isEmpty
  }

  // MARK: What was accepted

  struct Decision: Equatable {
    var id: [UInt8]
    var feature: Int64
    var label: Int64
    var expired: Bool
    var value: Double
    var weight: Double
    var event: [UInt8]
  }

  /// What a trainer would learn, by the given rule.
  func accepted(
    _ rule: (inout ExamplesReaderState, ExampleBatchClaim, Int64) -> Bool = { $0.accept($1, at: $2) }
  ) -> (decisions: [Decision], state: ExamplesReaderState) {
    var state = ExamplesReaderState()
    var decisions: [Decision] = []
    let reader = ExampleReader()
    for (offset, bytes) in examples.enumerated() {
      bytes.withUnsafeBytes { raw in
        precondition(reader.read(raw))
        guard rule(&state, reader.header.claim, Int64(offset)) else { return }
        var example = ExampleView()
        while reader.next(&example) {
          decisions.append(
            Decision(
              id: Array(example.id), feature: example.featureOffset, label: example.labelOffset, expired: example.expired,
              value: example.label, weight: example.weight, event: Array(example.event)))
        }
      }
    }
    return (decisions, state)
  }
}

/// A stream of events and labels whose right answer is known.
struct JoinerScenario {
  enum Expected { case matched, expired, either, labelOnly }

  static let window: Int64 = 10_000
  /// How much the order in a log may differ from event time.
  static let jitter: Int64 = 300

  var features: [JoinerSimulation.Record] = []
  var labels: [JoinerSimulation.Record] = []
  var expected: [[UInt8]: Expected] = [:]

  init(seed: UInt64, events: Int) {
    var random = SeededRandom(seed: seed)
    var featureList: [(order: Int64, JoinerSimulation.Record)] = []
    var labelList: [(order: Int64, JoinerSimulation.Record)] = []
    var time: Int64 = 1_000_000
    for number in 0..<events {
      time += Int64.random(in: 0...120, using: &random)
      let id = Array("event-\(number)".utf8)
      func arrival(_ time: Int64) -> Int64 { time + Int64.random(in: 0...Self.jitter, using: &random) }
      func record(_ time: Int64, _ value: Double, _ kind: String) -> JoinerSimulation.Record {
        let pad = String(repeating: "x", count: Int.random(in: 0...40, using: &random))
        return .init(id: id, time: time, value: value, bytes: Array("\(kind) \(number) \(pad)".utf8))
      }
      let kind = Int.random(in: 0..<10, using: &random)
      if kind < 9 {
        let feature = record(time, 0, "feature")
        let first = arrival(time)
        featureList.append((first, feature))
        if random.chance(0.05) { featureList.append((first + Int64.random(in: 1...2_000, using: &random), feature)) }
      }
      var delay: Int64?
      switch kind {
      case 0...5:  // in time; some before their event
        delay = Int64.random(in: -500...(Self.window - 4 * Self.jitter - 500), using: &random)
        expected[id] = .matched
      case 6:  // too late, or only just
        delay = Int64.random(in: (Self.window - 2 * Self.jitter)...(Self.window * 2), using: &random)
        expected[id] = .either
      case 7, 8: expected[id] = .expired
      default:
        delay = 0
        expected[id] = .labelOnly
      }
      if let delay {
        let label = record(time + delay, Double.random(in: 0.1...1, using: &random), "label")
        let first = arrival(time + delay)
        labelList.append((first, label))
        if random.chance(0.1) {
          var again = label
          again.value += 1
          labelList.append((first + Int64.random(in: 1...1_000, using: &random), again))
        }
      }
    }
    features = featureList.enumerated().sorted { ($0.element.order, $0.offset) < ($1.element.order, $1.offset) }.map(\.element.1)
    labels = labelList.enumerated().sorted { ($0.element.order, $0.offset) < ($1.element.order, $1.offset) }.map(\.element.1)
  }

  /// What is wrong with the decisions; empty when nothing is.
  func problems(_ decisions: [JoinerSimulation.Decision]) -> [String] {
    var problems: [String] = []
    var firstFeature: [[UInt8]: Int] = [:]
    var firstLabel: [[UInt8]: Int] = [:]
    for (offset, record) in features.enumerated() where firstFeature[record.id] == nil { firstFeature[record.id] = offset }
    for (offset, record) in labels.enumerated() where firstLabel[record.id] == nil { firstLabel[record.id] = offset }
    var decided: [[UInt8]: JoinerSimulation.Decision] = [:]
    for decision in decisions {
      let name = String(decoding: decision.id, as: UTF8.self)
      if decided[decision.id] != nil { problems.append("\(name) is decided twice") }
      decided[decision.id] = decision
      if Int(decision.feature) != firstFeature[decision.id] { problems.append("\(name) is decided from feature \(decision.feature)") }
      if decision.feature >= 0, Int(decision.feature) < features.count, decision.event != features[Int(decision.feature)].bytes {
        problems.append("\(name) holds another record")
      }
      if decision.expired {
        if decision.label != -1 || decision.value != 0 { problems.append("\(name) expired with a label") }
      } else if Int(decision.label) != firstLabel[decision.id] {
        problems.append("\(name) is matched with label \(decision.label)")
      } else if decision.value != labels[Int(decision.label)].value {
        problems.append("\(name) has another label")
      }
    }
    for (id, expected) in expected {
      let name = String(decoding: id, as: UTF8.self)
      switch (expected, decided[id]?.expired) {
      case (.matched, false), (.expired, true), (.either, .some), (.labelOnly, nil): break
      case (_, nil): problems.append("\(name) is lost (\(expected))")
      case (_, .some(let expired)): problems.append("\(name) is \(expired ? "expired" : "matched"), but should be \(expected)")
      }
    }
    return Array(problems.prefix(5))
  }
}

extension JoinerSettings {
  /// Small bounds and short waits, so that everything happens in a short run.
  static func forSimulation(onExpiry: JoinSettings.OnExpiry = .negative) -> JoinerSettings {
    var settings = JoinerSettings(
      join: JoinSettings(windowMilliseconds: JoinerScenario.window, onExpiry: onExpiry, waitingEventsMax: 100_000))
    settings.batchExamplesMax = 8
    settings.inFlightBatchesMax = 6
    settings.coverMilliseconds = 20
    settings.coverOffsetsMax = 40
    settings.idleMilliseconds = 400
    settings.unseenMilliseconds = 150
    settings.backoffMilliseconds = 5
    settings.backoffMillisecondsMax = 200
    return settings
  }
}
