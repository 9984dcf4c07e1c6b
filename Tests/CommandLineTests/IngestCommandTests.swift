import Foundation
import MillraceClient
import Testing

/// Events and labels that come by gRPC alone teach the model: published ones, and served requests.
@Suite(.serialized) struct IngestCommandTests {
  private static func order(_ id: String, distance: String = "4.2") -> String {
    #"{"id":"\#(id)","key":"\#(id)","features":{"store":"harbour","courier":"ann","distance":\#(distance)}}"#
  }

  @Test(.timeLimit(.minutes(3))) func aModelLearnsWithoutAKafkaClient() async throws {
    let instance = try RunningInstance()
    try instance.start()
    let server = "127.0.0.1:\(instance.grpcPort)"

    let published = try instance.millrace(
      "produce", "features", "--grpc", server,
      input: [Self.order("g1"), Self.order("g2", distance: #""far""#), "{", Self.order("g3")].joined(separator: "\n"))
    #expect(published.status == 1, "two lines are wrong")
    #expect(published.errors.contains("line 2: wrong_type in distance"), "\(published.errors)")
    #expect(published.errors.contains("line 3:") && published.errors.contains("2 features sent to \(server)"), "\(published.errors)")
    #expect(published.errors.contains("2 wrong lines left out"), "\(published.errors)")
    #expect(try instance.score(of: "g1") == 0.5)
    let letters = try instance.tail("dead-letters")
    #expect(letters.count == 1, "\(letters)")

    // A served request with an id is an event, too.
    let client = try PredictionClient(target: server)
    var request = PredictionRequest(model: "orders", features: ["store": "harbour", "courier": "ann", "distance": 4.2])
    request.id = "r1"
    let prediction = try await client.predict(request)
    #expect(prediction.scores.first == 0.5)
    #expect(try instance.score(of: "r1") == 0.5, "the stream predictor answers it as well")

    let labels = try instance.millrace(
      "produce", "labels", "--grpc", server, "--form", "protobuf",
      input: ["g1", "g3", "r1"].map { #"{"id":"\#($0)","label":1}"# }.joined(separator: "\n"))
    #expect(labels.status == 0 && labels.errors.contains("3 labels sent to"), "\(labels.errors)")
    try eventually("three examples\n\(instance.tail)") {
      get("/metrics", port: instance.adminPort)?.body.contains("millrace_joiner_matched_total{model=\"orders.1\"} 3") == true
    }
    var score: Float = 0.5
    for _ in 0..<200 where score == 0.5 {
      score = try await client.predict(
        PredictionRequest(model: "orders", features: ["store": "harbour", "courier": "ann", "distance": 4.2])).scores.first ?? 0
      try await Task.sleep(for: .milliseconds(20))
    }
    #expect(score > 0.5 && score < 1, "towards the labels")
    await client.close()
    #expect(instance.stop() == 0, "a clean stop\n\(instance.tail)")

    let nobody = try instance.millrace("produce", "features", "--grpc", server, input: Self.order("late"))
    #expect(nobody.status == 1 && nobody.errors.contains(server) && nobody.errors.contains("not acknowledged"), "\(nobody.errors)")
  }
}
