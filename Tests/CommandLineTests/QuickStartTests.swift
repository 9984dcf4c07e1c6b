import Foundation
import Testing

/// The five minutes of README.md, with other ports.
@Suite(.serialized) struct QuickStartTests {
  private static func order(_ id: String) -> String {
    #"{"id":"\#(id)","key":"\#(id)","features":{"store":"harbour","courier":"ann","distance":4.2}}"#
  }

  @Test(.timeLimit(.minutes(3))) func theTourOfTheReadme() throws {
    let instance = try RunningInstance()
    try instance.start()

    // Nothing was learned yet.
    try instance.produce("features", Self.order("o1"))
    #expect(try instance.score(of: "o1") == 0.5)

    try instance.produce("labels", #"{"id":"o1","key":"o1","label":1}"#)
    // Each question is a new order; sooner or later one meets a model that has learned.
    var learned = 0.5
    var question = 1
    try eventually("a score above 0.5\n\(instance.tail)") {
      question += 1
      try instance.produce("features", Self.order("o\(question)"))
      learned = try instance.score(of: "o\(question)")
      return learned != 0.5
    }
    #expect(learned > 0.5 && learned < 1, "towards the label")

    // What people read: the prediction by its words.
    let shown = try instance.millrace("tail", "predictions")
    #expect(shown.status == 0)
    #expect(shown.output.contains("orders.1 online  o1  score 0.5"), "\(shown.output)")

    let inspected = try instance.millrace("model", "inspect", "orders.1")
    #expect(inspected.status == 0, "\(inspected.errors)")
    #expect(inspected.output.contains("orders.1"), "\(inspected.output)")

    let ready = try #require(get("/readyz", port: instance.adminPort))
    #expect(ready.status == 200)
    #expect(get("/", port: instance.adminPort)?.body.contains("<html") == true)
    #expect(get("/metrics", port: instance.adminPort)?.body.contains("millrace_stream_events_total") == true)

    #expect(instance.stop() == 0, "a clean stop\n\(instance.tail)")

    // The state survived: the same order, the same score, the same bits.
    try instance.start()
    try instance.produce("features", Self.order("again"))
    #expect(try instance.score(of: "again") == learned, "\(instance.tail)")
    #expect(try instance.scores(of: "o1") == [0.5], "what was answered stays answered")
    #expect(instance.stop() == 0, "a clean stop\n\(instance.tail)")
  }
}
