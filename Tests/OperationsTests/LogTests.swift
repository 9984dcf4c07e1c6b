import Foundation
import Logging
import Testing

@testable import Operations

@Suite struct LogTests {
  /// Runs `body` with a logger that writes to a pipe, and returns the lines.
  private func lines(
    _ format: LogFormat, colour: Bool = false, limiter: RepeatLimiter = RepeatLimiter(periodMilliseconds: 1000, passesMax: 3),
    clock: @escaping @Sendable () -> (Int64, Int64) = { (1_370_088_000_123, 0) }, _ body: (inout Logger) -> Void
  ) throws -> [String] {
    let pipe = Pipe()
    let sink = LogSink(descriptor: pipe.fileHandleForWriting.fileDescriptor)
    var logger = Logger(label: "serving") { label in
      StructuredLogHandler(
        label: label, levels: LogLevelSwitch(.info), format: format, colour: colour, sink: sink, limiter: limiter, clock: clock)
    }
    body(&logger)
    sink.flush()
    try pipe.fileHandleForWriting.close()
    let data = try pipe.fileHandleForReading.readToEnd() ?? Data()
    return String(decoding: data, as: UTF8.self).split(separator: "\n").map(String.init)
  }

  @Test func textHasTimeLevelLoggerMessageAndMetadata() throws {
    let written = try lines(.text) { logger in
      logger[metadataKey: "topic"] = "features"
      logger.warning("cannot decode", metadata: ["offset": "12", "why": "two words"])
      logger.debug("not at this level")
    }
    #expect(written == ["2013-06-01T12:00:00.123Z WARNING serving: cannot decode offset=12 topic=features why=\"two words\""])
  }

  @Test func aSwitchChangesTheLevelOfLoggersThatHaveNoneOfTheirOwn() {
    let levels = LogLevelSwitch(.info)
    let handler = StructuredLogHandler(
      label: "serving", levels: levels, format: .text, colour: false, sink: LogSink(),
      limiter: RepeatLimiter(periodMilliseconds: 1000, passesMax: 3)) { (0, 0) }
    let logger = Logger(label: "serving") { _ in handler }
    var quiet = logger
    quiet.logLevel = .error
    for level in Logger.Level.allCases {
      levels.level = level
      #expect(logger.logLevel == level && levels.level == level)
      #expect(quiet.logLevel == .error)
    }
  }

  @Test func nothingThatIsLoggedStartsALineOfItsOwn() throws {
    let nasty = "a\nERROR forged\r\u{1B}[2J"
    for format in LogFormat.allCases {
      let written = try lines(format) { $0.info("\(nasty)", metadata: ["k\n": "\(nasty)"]) }
      #expect(written.count == 1)
      #expect(!written[0].unicodeScalars.contains { $0.value < 0x20 })
    }
  }

  @Test func jsonLinesAreJSON() throws {
    let written = try lines(.json) { logger in
      logger.error(
        "tab\t \"quotes\" \\ é 🛫 \u{1}",
        metadata: ["list": ["a", "b"], "map": ["k": "v\n"], "number": .stringConvertible(5)])
    }
    let line = try #require(written.first)
    let object = try #require(JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
    #expect(object["message"] as? String == "tab\t \"quotes\" \\ é 🛫 \u{1}")
    #expect(object["time"] as? String == "2013-06-01T12:00:00.123Z")
    #expect(object["level"] as? String == "error")
    #expect(object["logger"] as? String == "serving")
    let metadata = try #require(object["metadata"] as? [String: Any])
    #expect(metadata["list"] as? [String] == ["a", "b"])
    #expect(metadata["map"] as? [String: String] == ["k": "v\n"])
    #expect(metadata["number"] as? String == "5")
  }

  @Test func colourIsOnlyForTerminals() throws {
    #expect(try lines(.text, colour: true) { $0.error("x") }[0].contains("\u{1B}[31m"))
    let pipe = Pipe()
    #expect(!StructuredLogHandler.wantsColour(descriptor: pipe.fileHandleForWriting.fileDescriptor))
  }

  @Test func repeatedMessagesAreHeldBackAndCounted() throws {
    let now = Cell<Int64>(0)
    let written = try lines(.text, clock: { (0, now.value) }) { logger in
      for _ in 0..<10 { logger.info("the broker is away") }
      logger.info("another message")
      now.value = 2_000_000_000
      logger.info("the broker is away")
    }
    #expect(written.count == 5)
    #expect(written.last?.hasSuffix("the broker is away suppressed=7") == true)
  }

  @Test func theLimiterForgetsRatherThanGrow() {
    let limiter = RepeatLimiter(periodMilliseconds: 1000, passesMax: 1)
    for key in 0..<(10 * RepeatLimiter.messagesMax) {
      #expect(limiter.verdict(key: key, nowNanoseconds: 0) == .pass(suppressed: 0))
    }
  }

  @Test func aSlowReaderLosesLinesAndIsToldHowMany() throws {
    let pipe = Pipe()
    let sink = LogSink(descriptor: pipe.fileHandleForWriting.fileDescriptor)
    let line = String(repeating: "x", count: 1023)
    let count = 3 * LogSink.waitingBytesMax / 1024
    // Nobody reads while these are written: the writer must not wait.
    for _ in 0..<count { sink.write(line) }
    let received = Cell((bytes: 0, tail: ""))
    let done = DispatchSemaphore(value: 0)
    let descriptor = pipe.fileHandleForReading.fileDescriptor
    Thread.detachNewThread {
      var buffer = [UInt8](repeating: 0, count: 1 << 16)
      while true {
        let count = read(descriptor, &buffer, buffer.count)
        if count <= 0 { break }
        let text = String(decoding: buffer[0..<count], as: UTF8.self)
        received.update { $0 = ($0.bytes + count, String(($0.tail + text).suffix(200))) }
      }
      done.signal()
    }
    sink.flush()
    let deadline = Date.now.addingTimeInterval(60)
    while !received.value.tail.contains("log lines dropped"), Date.now < deadline { sink.flush() }
    #expect(received.value.tail.contains("log lines dropped"))
    try pipe.fileHandleForWriting.close()
    done.wait()
    #expect(received.value.bytes < count * 1024)
  }

  @Test(arguments: [
    (0, "1970-01-01T00:00:00.000Z"), (-1, "1969-12-31T23:59:59.999Z"), (951_782_400_000, "2000-02-29T00:00:00.000Z"),
    (1_370_088_000_000, "2013-06-01T12:00:00.000Z"), (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
  ] as [(Int64, String)])
  func timestamps(milliseconds: Int64, text: String) {
    #expect(Timestamp.text(milliseconds: milliseconds) == text)
    #expect(Timestamp.milliseconds(text) == milliseconds)
  }

  @Test func timestampsAgreeWithTheCalendarOfTheSystem() {
    let seed = UInt64.random(in: 0 ... .max)
    print("timestampsAgreeWithTheCalendarOfTheSystem: seed \(seed)")
    var state = seed
    for _ in 0..<2000 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      let seconds = Int64(state >> 30) - (1 << 33)  // from 1697 to 2242
      var time = time_t(seconds)
      var fields = tm()
      gmtime_r(&time, &fields)
      let text = String(
        format: "%04d-%02d-%02dT%02d:%02d:%02d.000Z", fields.tm_year + 1900, fields.tm_mon + 1, fields.tm_mday, fields.tm_hour,
        fields.tm_min, fields.tm_sec)
      #expect(Timestamp.text(milliseconds: seconds * 1000) == text, "seed \(seed)")
      #expect(Timestamp.milliseconds(text) == seconds * 1000, "seed \(seed)")
    }
  }

  @Test(arguments: [
    "2013", "2013-02-30", "2013-13-01", "2013-06-01T", "2013-06-01T12:00", "2013-06-01T24:00:00Z", "2013-06-01T12:00:00",
    "2013-06-01T12:00:00.Z", "2013-06-01T12:00:00.1234Z", "13-06-01", "", "T", "2013-06-01T12:00:00+02:00",
  ])
  func notTimestamps(text: String) {
    #expect(Timestamp.milliseconds(text) == nil)
  }
}
