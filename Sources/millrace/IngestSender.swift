import ArgumentParser
import Events
import Foundation
import MillraceClient
import RPC
import Telemetry

/// Sends records to a server's ingest service, at most so many a second, and says which lines it refused.
struct IngestSender {
  /// Lines reported one by one; further ones are counted.
  private static let reportedMax = 20
  private static let batchRecordsMax = 256
  private static let batchBytesMax = 256 << 10
  /// Batches on the way at a time.
  private static let batchesMax = 16

  private struct Batch {
    var lines: [Int]
    var pending: PendingPublish
  }

  private let server: String
  private let client: PredictionClient
  private let publisher: RecordPublisher
  private let nanosecondsBetween: Double?
  private let progress = Progress()
  private var records: [[UInt8]] = []
  private var lines: [Int] = []
  private var bytes = 0
  private var batches: [Batch] = []
  private var sent = 0
  private var delivered = 0
  private var refused = 0
  private var failed = 0
  private var lastFailure = ""

  init(server: String, kind: ProduceCommand.Kind, contentType: String, rate: Double?) throws {
    self.server = server
    client = try PredictionClient(target: server)
    publisher = RecordPublisher(channel: client.channel, kind: kind == .labels ? .labels : .events, contentType: contentType)
    nanosecondsBetween = rate.map { 1e9 / $0 }
  }

  mutating func sendAll(from source: inout any RecordSource, name: String, kind: ProduceCommand.Kind) async throws {
    let start = MonotonicClock.nanoseconds()
    var end: RPCStatus?
    do throws(RPCStatus) {
      while let outcome = try await next(&source, since: start) {
        if case .failure(let problem) = outcome { refuse(source.line, "\(problem)", name) }
        if records.count >= Self.batchRecordsMax || bytes >= Self.batchBytesMax { try await sendBatch(name) }
        progress.show("\(sent) sent, \(refused) wrong")
      }
      try await sendBatch(name)
      while !batches.isEmpty { try await settleFirst(name) }
      publisher.finish()
    } catch {
      end = error
    }
    await client.close()
    progress.clear()
    let seconds = max(1e-9, Double(MonotonicClock.nanoseconds() - start) / 1e9)
    report(
      "\(delivered) \(kind.rawValue) sent to \(server) in \(String(format: "%.1f", seconds)) s"
        + (refused > 0 ? ", \(refused) wrong line\(refused == 1 ? "" : "s") left out" : "")
        + (failed > 0 ? ", \(failed) not delivered: \(lastFailure)" : ""))
    if let end { report("\(server): \(end.code.name): \(end.message). \(sent - delivered - refusedByServer - failed) records are not acknowledged") }
    if refused > 0 || failed > 0 || end != nil { throw ExitCode.failure }
  }

  private var refusedByServer = 0

  /// The next line into the batch; nil at the end.
  private mutating func next(_ source: inout any RecordSource, since start: Int64) async throws(RPCStatus) -> Result<Void, EventProblem>? {
    try await waitForTurn(since: start)
    var taken: [UInt8]?
    // The closure throws nothing, and neither does a source of text.
    let outcome = try? source.next { record, _ in taken = Array(record) }
    if let taken {
      records.append(taken)
      lines.append(source.line)
      bytes += taken.count
      sent += 1
    }
    return outcome ?? nil
  }

  private mutating func sendBatch(_ name: String) async throws(RPCStatus) {
    guard !records.isEmpty else { return }
    let pending = try await publisher.begin(records)
    batches.append(Batch(lines: lines, pending: pending))
    records.removeAll(keepingCapacity: true)
    lines.removeAll(keepingCapacity: true)
    bytes = 0
    while batches.count >= Self.batchesMax { try await settleFirst(name) }
  }

  private mutating func settleFirst(_ name: String) async throws(RPCStatus) {
    let batch = batches.removeFirst()
    let result = try await batch.pending.result()
    delivered += result.places.reduce(0) { $0 + ($1 == nil ? 0 : 1) }
    for refusal in result.refusals {
      if refusal.isRetryable {
        failed += 1
        lastFailure = refusal.message
      } else if batch.lines.indices.contains(refusal.index) {
        refusedByServer += 1
        refuse(batch.lines[refusal.index], "\(refusal)", name)
      }
    }
  }

  private mutating func refuse(_ line: Int, _ problem: String, _ name: String) {
    refused += 1
    progress.clear()
    if refused <= Self.reportedMax { report("\(name), line \(line): \(problem)") }
    if refused == Self.reportedMax + 1 { report("… further wrong lines are counted only") }
  }

  /// Open loop: record n is due n times the interval after the start, however long the others took.
  private mutating func waitForTurn(since start: Int64) async throws(RPCStatus) {
    guard let nanosecondsBetween else { return }
    let left = start + Int64(Double(sent) * nanosecondsBetween) - MonotonicClock.nanoseconds()
    guard left > 0 else { return }
    try await sendBatch("")
    try? await Task.sleep(nanoseconds: UInt64(left))
  }
}
