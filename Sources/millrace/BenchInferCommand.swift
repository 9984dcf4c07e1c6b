import ArgumentParser
import Demo
import Endpoint
import Events
import Foundation
import Model
import RPC
import Serving
import Telemetry
import UpdateLog

/// `millrace bench infer`: what answering a request is made of, without a network.
struct BenchInferCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "infer",
    abstract: "Measure V2 requests from their bytes to their answers' bytes: one core, in memory, no network.",
    discussion: """
      10,000 distinct requests of the flights model (19 named inputs, one row, raw contents, as tritonclient writes them) and of a dense model \
      of 16 floats, over tables that hold every row asked for. read: the message alone; rows: and its features' row ids; whole: and scored \
      and answered, in runs of 1 to 128 requests. Nanoseconds for each request, the median of several rounds. The hash of all answers' scores \
      is printed, so that nothing gets faster by doing less, and by how many KiB the process grew in the measured rounds (that nothing is allocated, a test counts).
      """)

  @Option(help: "Rounds; the median counts.") var rounds = 7
  @Flag(help: "Runs of 16 flights requests, again and again: for a profiler.") var forever = false

  private static let requestCount = 10_000
  private static let runs = [1, 4, 16, 128]

  func validate() throws {
    guard (1...1000).contains(rounds) else { throw ValidationError("--rounds takes 1 to 1000") }
  }

  func run() throws {
    let flights = try ModelSpecification.parse(yaml: FlightsModel.yaml, file: "flights.yaml")
    let dense = ModelSpecification(name: "dense", family: .linear(loss: .logistic), features: [.vector("x", size: 16)], shards: 2)
    print("model    bytes  read ns  rows ns  whole ns, runs of \(Self.runs.map { "\($0)".leftPadded(5) }.joined())  grown  scores")
    for specification in [flights, dense] { measure(specification) }
  }

  private func measure(_ specification: ModelSpecification) {
    let requests = Requests(specification, count: Self.requestCount)
    let set = ReplicaSet(specification: specification)
    requests.fill(set)
    let catalog = ModelCatalog([
      ServedModel(specification: specification, arms: [Arm(name: "online", set: set, isReady: { true })], registry: Registry())
    ])
    let batch = InferenceBatch(catalog: catalog)
    if forever { while true { _ = whole(requests, batch, 16) } }
    let read = median { self.read(requests) }
    let rows = median { self.rows(requests, specification) }
    var hash: UInt64 = 0
    for size in Self.runs { hash = whole(requests, batch, size).hash }
    let before = residentMax()
    let times = Self.runs.map { size in median { whole(requests, batch, size).nanoseconds } }
    let grown = residentMax() - before
    print(
      "\(specification.name.padded(8))\("\(requests.byteCount / Self.requestCount)".leftPadded(6))\(read.leftPadded(9))\(rows.leftPadded(9))"
        + "\("".padded(18))\(times.map { $0.leftPadded(5) }.joined())\("\(grown)".leftPadded(7))  \(String(hash, radix: 16))")
  }

  /// KiB.
  private func residentMax() -> Int {
    var usage = rusage()
    return getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 ? usage.ru_maxrss : 0
  }

  private func median(_ body: () -> Int64) -> String {
    let sorted = (0..<rounds).map { _ in body() }.sorted()
    return "\(sorted[sorted.count / 2] / Int64(Self.requestCount))"
  }

  private func read(_ requests: Requests) -> Int64 {
    let reader = InferRequestReader(limits: EventLimits(), inputsMax: 64)
    let start = MonotonicClock.nanoseconds()
    for request in requests.slices where !reader.read(request) { return .max }
    return MonotonicClock.nanoseconds() - start
  }

  private func rows(_ requests: Requests, _ specification: ModelSpecification) -> Int64 {
    let reader = InferRequestReader(limits: EventLimits(), inputsMax: 64)
    let tensors = TensorRows(specification: specification, inputsMax: 64, unknownInputs: .refused)
    let batch = RowBatch()
    let start = MonotonicClock.nanoseconds()
    for request in requests.slices {
      guard reader.read(request), tensors.append(reader.request, to: batch) else { return .max }
      if batch.rowCount == 128 { batch.removeAll() }
    }
    return MonotonicClock.nanoseconds() - start
  }

  private func whole(_ requests: Requests, _ batch: InferenceBatch, _ size: Int) -> (nanoseconds: Int64, hash: UInt64) {
    var hash: UInt64 = 0
    let start = MonotonicClock.nanoseconds()
    var next = 0
    while next < requests.slices.count {
      let end = min(next + size, requests.slices.count)
      for index in next..<end { batch.add(requests.slices[index], token: UInt64(index)) }
      batch.run()
      for index in 0..<batch.answerCount {
        let answer = batch.answer(index)
        guard answer.code == .ok, answer.bytes.count > 4 else { return (.max, 0) }
        // The score is the answer's end.
        hash = hash &* 31 &+ UInt64(answer.bytes.loadUnaligned(fromByteOffset: answer.bytes.count - 4, as: UInt32.self))
      }
      batch.removeAll()
      next = end
    }
    return (MonotonicClock.nanoseconds() - start, hash)
  }

  /// Requests end to end in one block.
  private final class Requests {
    let slices: UnsafeMutableBufferPointer<UnsafeRawBufferPointer>
    let byteCount: Int
    private let bytes = OutputBuffer(capacity: 1 << 23)
    private let specification: ModelSpecification

    init(_ specification: ModelSpecification, count: Int) {
      self.specification = specification
      slices = .allocate(capacity: count)
      var state: UInt64 = 7
      func random(_ bound: UInt64) -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return (state >> 33) % bound
      }
      var starts: [Int] = []
      for _ in 0..<count {
        starts.append(bytes.count)
        bytes.appendField(1, text: specification.name)
        for feature in specification.features {
          let tensor = bytes.beginMessage(5)
          bytes.appendField(1, text: feature.name)
          bytes.appendField(2, text: feature.kind == .categorical ? "BYTES" : "FP32")
          let shape = bytes.beginMessage(3)
          bytes.appendVarint(1)
          bytes.appendVarint(UInt64(feature.valuesMax))
          bytes.endMessage(shape)
          bytes.endMessage(tensor)
        }
        let requested = bytes.beginMessage(6)
        bytes.appendField(1, text: "score")
        bytes.endMessage(requested)
        for feature in specification.features {
          let raw = bytes.beginMessage(7)
          if feature.kind == .categorical {
            let text = "v\(random(1000))"
            bytes.reserve(4).storeBytes(of: UInt32(text.utf8.count).littleEndian, as: UInt32.self)
            bytes.advance(4)
            bytes.append(text)
          } else {
            for _ in 0..<feature.valuesMax {
              bytes.reserve(4).storeBytes(of: (Float(random(10_000)) / 64).bitPattern.littleEndian, as: UInt32.self)
              bytes.advance(4)
            }
          }
          bytes.endMessage(raw)
        }
      }
      starts.append(bytes.count)
      byteCount = bytes.count
      for i in 0..<count {
        slices.initializeElement(at: i, to: UnsafeRawBufferPointer(rebasing: bytes.bytes[starts[i]..<starts[i + 1]]))
      }
    }

    deinit { slices.deallocate() }

    func fill(_ set: ReplicaSet) { set.fill(specification, for: slices) }
  }
}

extension String {
  fileprivate func padded(_ width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }
  fileprivate func leftPadded(_ width: Int) -> String { String(repeating: " ", count: max(0, width - count)) + self }
}
