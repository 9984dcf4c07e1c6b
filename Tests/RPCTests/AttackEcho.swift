import NIOCore
import RPC
import Synchronization
import Telemetry

/// What the attacked server serves: calls of every kind, that echo, answer too much, or never.
enum AttackEcho {
  static func service(_ held: HeldCalls) -> RPCService {
    RPCService(
      name: "attack.Echo",
      methods: [
        RPCMethod("Unary", .unary) { Unary(loop: $0) },
        RPCMethod("Fail", .unary) { Fail(loop: $0) },
        RPCMethod("Hold", .unary) { Hold(loop: $0, held) },
        RPCMethod("Held", .unary) { Held(loop: $0, held) },
        RPCMethod("Trailers", .unary) { Trailers(loop: $0) },
        RPCMethod("TimeLeft", .unary) { TimeLeft(loop: $0) },
        RPCMethod("Metadata", .unary) { Metadata(loop: $0) },
        RPCMethod("Big", .unary) { Big(loop: $0) },
        RPCMethod.asyncUnary("Later") { request, _ in
          try await Task.sleep(for: .milliseconds(5))
          return request
        },
        RPCMethod("Sum", .streaming) { Sum(loop: $0) },
        RPCMethod("Count", .streaming) { Count(loop: $0) },
        RPCMethod("Chat", .streaming) { Chat(loop: $0) },
        RPCMethod("Paused", .streaming) { Paused(loop: $0) },
      ])
  }

  /// Calls that nobody answers, and messages that arrived.
  final class HeldCalls: Sendable {
    let count = Atomic<Int>(0)
    let seen = Atomic<Int>(0)
  }

  static func text(_ bytes: UnsafeRawBufferPointer) -> String { String(decoding: bytes, as: UTF8.self) }

  private final class Unary: MethodHandler {
    override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) { loop.reply(call, bytes) }
  }

  /// "CODE text" is answered by that code and text.
  private final class Fail: MethodHandler {
    override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) {
      let text = AttackEcho.text(bytes)
      let parts = text.split(separator: " ", maxSplits: 1)
      let code = UInt8(parts.first ?? "").flatMap { RPCCode(rawValue: $0) } ?? .unknown
      let message = parts.count > 1 ? String(parts[1]) : ""
      loop.finish(call, RPCStatus(code, message, details: [0, 1, 255, code.rawValue]))
    }
  }

  private final class Hold: MethodHandler {
    private let held: HeldCalls
    private var calls: Set<Call> = []

    init(loop: ServerLoop, _ held: HeldCalls) {
      self.held = held
      super.init(loop: loop)
    }

    override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) {
      calls.insert(call)
      held.count.add(1, ordering: .relaxed)
      held.seen.add(1, ordering: .relaxed)
    }

    override func ended(_ call: Call) {
      guard calls.remove(call) != nil else { return }
      held.count.subtract(1, ordering: .relaxed)
    }
  }

  private final class Held: MethodHandler {
    private let held: HeldCalls

    init(loop: ServerLoop, _ held: HeldCalls) {
      self.held = held
      super.init(loop: loop)
    }

    override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) {
      var count = "\(held.count.load(ordering: .relaxed))"
      count.withUTF8 { _ = loop.reply(call, UnsafeRawBufferPointer($0)) }
    }
  }

  /// The request's metadata come back as trailers.
  private final class Trailers: MethodHandler {
    override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) {
      loop.send(call, bytes)
      loop.finish(call, .ok, trailers: loop.metadata(call))
    }
  }

  private final class TimeLeft: MethodHandler {
    override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) {
      let deadline = loop.deadlineNanoseconds(call)
      var text = deadline == .max ? "-1" : "\((deadline - MonotonicClock.nanoseconds()) / 1_000_000)"
      text.withUTF8 { _ = loop.reply(call, UnsafeRawBufferPointer($0)) }
    }
  }

  private final class Metadata: MethodHandler {
    override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) {
      var text = "\(loop.metadata(call))"
      text.withUTF8 { _ = loop.reply(call, UnsafeRawBufferPointer($0)) }
    }
  }

  /// "BYTES" is answered by so many.
  private final class Big: MethodHandler {
    override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) {
      let count = Int(AttackEcho.text(bytes)) ?? 0
      [UInt8](repeating: 7, count: max(0, min(count, 64 << 20))).withUnsafeBytes { _ = loop.reply(call, $0) }
    }
  }

  /// The number and the bytes of all messages, at the end.
  private final class Sum: MethodHandler {
    private var sums: [Call: (messages: Int, bytes: Int)] = [:]

    override func opened(_ call: Call) { sums[call] = (0, 0) }

    override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) {
      sums[call]?.messages += 1
      sums[call]?.bytes += bytes.count
    }

    override func halfClosed(_ call: Call) {
      guard let sum = sums.removeValue(forKey: call) else { return }
      var text = "\(sum.messages) \(sum.bytes)"
      text.withUTF8 { _ = loop.send(call, UnsafeRawBufferPointer($0)) }
      loop.finish(call)
    }

    override func ended(_ call: Call) { sums[call] = nil }
  }

  /// "COUNT BYTES" is answered by so many messages of so many bytes, as fast as the client reads.
  private final class Count: MethodHandler {
    static let pendingBytesMax = 256 << 10
    private var left: [Call: (count: Int, size: Int)] = [:]
    private var zeros = [UInt8](repeating: 0, count: 1 << 20)

    override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) {
      let parts = AttackEcho.text(bytes).split(separator: " ").compactMap { Int($0) }
      guard parts.count == 2, left[call] == nil else { return loop.finish(call, RPCStatus(.invalidArgument, "COUNT BYTES, once")) }
      left[call] = (parts[0], min(max(0, parts[1]), zeros.count))
      write(call)
    }

    override func writable(_ call: Call) { write(call) }
    override func ended(_ call: Call) { left[call] = nil }

    private func write(_ call: Call) {
      guard var rest = left[call] else { return }
      while rest.count > 0, loop.pendingBytes(call) < Self.pendingBytesMax {
        rest.count -= 1
        let sent = zeros.withUnsafeBytes { loop.send(call, UnsafeRawBufferPointer(rebasing: $0[..<rest.size])) }
        guard sent else { break }
      }
      left[call] = rest
      if rest.count == 0 {
        left[call] = nil
        loop.finish(call)
      }
    }
  }

  private final class Chat: MethodHandler {
    override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) {
      loop.send(call, bytes)
      if loop.pendingBytes(call) > Count.pendingBytesMax { loop.pauseReading(call) }
    }

    override func writable(_ call: Call) { loop.resumeReading(call) }
    override func halfClosed(_ call: Call) { loop.finish(call) }
  }

  /// Never reads what the client sends, and never ends.
  private final class Paused: MethodHandler {
    override func opened(_ call: Call) { loop.pauseReading(call) }
  }
}
