@testable import Demo
import Foundation
import Telemetry
import Testing

@Suite struct ReportTextTests {
  @Test func numbersAsTheyAreShown() {
    #expect(fixed(0.47325, 4) == "0.4733")
    #expect(fixed(0.05, 3) == "0.050")
    #expect(fixed(-1.5, 1) == "-1.5")
    #expect(fixed(-0.00001, 2) == "0.00")
    #expect(fixed(1234.5, 0) == "1235")
    #expect(fixed(.nan, 2) == "-")
    #expect(fixed(.infinity, 2) == "-")
    #expect(grouped(0) == "0")
    #expect(grouped(999) == "999")
    #expect(grouped(1_234_567) == "1,234,567")
    #expect(grouped(-1000) == "-1,000")
    #expect(duration(7) == "0:07")
    #expect(duration(271) == "4:31")
    #expect(duration(3723) == "1:02:03")
    #expect(duration(.infinity) == "-")
    #expect(milliseconds(0.0012) == "1.20 ms")
    #expect(milliseconds(0.25) == "250 ms")
  }
}

@Suite struct LivePictureTests {
  /// A replay that has not run needs a system only to connect to.
  @Test func aScreenFitsItsTerminal() async throws {
    let stream = GeneratedStream.make(count: 200, seed: 1)
    let system = try await FakeSystem.start(stream)
    var answering = system.instance
    answering.endpoint = "gRPC at 127.0.0.1:8001"
    let instance = answering
    let pictures = await onThread { () -> [(columns: Int, rows: Int, lines: [String])] in
      guard let replay = try? Replay(stream: stream, settings: ReplaySettings(), instance: instance) else { return [] }
      defer { replay.close() }
      guard (try? replay.run()) != nil else { return [] }
      let picture = LivePicture(replay, title: "test", perSecond: 12_345, recentLatency: replay.latency.snapshot())
      return [(80, 24), (120, 40), (40, 12), (200, 60)].map { ($0.0, $0.1, picture.lines(columns: $0.0, rows: $0.1)) } + [(0, 0, [picture.line])]
    }
    await system.stop()
    #expect(pictures.count == 5)
    for (columns, rows, lines) in pictures.dropLast() {
      for line in lines {
        let visible = line.replacing(/\u{1B}\[[0-9;?]*[A-Za-z]/, with: "")
        #expect(visible.count <= columns, "\(columns): \(visible)")
      }
      if rows >= 24 { #expect(lines.count <= rows) }
      let text = lines.joined(separator: "\n")
      for word in ["frozen", "nightly", "online", "log loss", "latency", "freshness", "gRPC at 127.0.0.1:8001"] where columns >= 80 { #expect(text.contains(word)) }
    }
    #expect(pictures.last?.lines.first?.contains("online") == true)
  }
}
