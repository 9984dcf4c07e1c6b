import ChildProcesses
import Events
import Foundation
import Kafka
import MillraceClient
import Model
import RPC
import Telemetry
import Testing

@testable import Endpoint

/// Publishing through real sockets to a real log.
@Suite(.serialized) struct IngestServiceTests {
  @Test func whatIsAcknowledgedIsInTheLog() async throws {
    try await withService { service in
      let stream = service.channel.stream(service.events)
      let requests = 50
      let perRequest = 20
      for n in 0..<requests {
        let records = (0..<perRequest).map { SampleRecords.event("e\(n * perRequest + $0)") }
        try await stream.send(PublishRequest(sequence: UInt64(n + 1), messages: records).bytes)
      }
      stream.finish()
      var acks: [PublishAck] = []
      for try await message in stream { acks.append(try #require(PublishAck(message))) }
      #expect(acks.map(\.sequence) == (1...UInt64(requests)).map { $0 })
      #expect(acks.allSatisfy { $0.refusals.isEmpty && $0.offsets.count == perRequest })
      let log = try service.broker.read("features")
      #expect(log.count == requests * perRequest)
      let byPlace = Dictionary(uniqueKeysWithValues: log.map { (["\($0.partition)", "\($0.offset)"], $0) })
      for (n, ack) in acks.enumerated() {
        for index in 0..<perRequest {
          let record = byPlace[["\(ack.partitions[index])", "\(ack.offsets[index])"]]
          let id = "e\(n * perRequest + index)"
          #expect(record?.value == SampleRecords.event(id) && record?.key == Array(id.utf8))
          #expect(record?.headers == ["content-type": "application/x-protobuf"])
          #expect(ack.partitions[index] == Int64(partition(forKey: id, count: IngestBroker.partitions)))
        }
      }
    }
  }

  @Test func refusedRecordsAreInTheDeadLetters() async throws {
    try await withService { service in
      let bad = Array(#"{"id":"b","features":{"temp":"warm"}}"#.utf8)
      let broken = Array("{".utf8)
      let large = Array(#"{"id":"l","features":{"city":""#.utf8) + [UInt8](repeating: 0x20, count: 1_020_000)
      let acks = try await service.publish(
        service.events,
        [PublishRequest(sequence: 3, contentType: "application/json", records: [bad, SampleRecords.event("g", form: .json), broken, large])])
      #expect(acks.first?.refusals.map(\.index) == [0, 2, 3] && acks.first?.offsets == [-1, 0, -1, -1])
      #expect(acks.first?.refusals.first?.field == "temp" && acks.first?.refusals.first?.reason == "wrong_type")
      let letters = try service.broker.read("features.dead-letter")
      #expect(Set(letters.map(\.value)) == Set([bad, broken, Array(large.prefix(DeadLetter.valueBytesMax))]))
      let letter = letters.first { $0.value == bad }
      let read = DeadLetter { letter?.headers[$0] }
      #expect(read?.reason == "wrong_type" && read?.field == "temp" && read?.sourceTopic == "features" && read?.sourceOffset == -1)
      #expect(read?.contentType == "application/json" && letter?.headers["millrace-source"] == "rpc" && letter?.key == Array("b".utf8))
      // The same letter that a reader of the topic would have written.
      #expect(letter.map { Int($0.partition) } == partition(forKey: "b", count: IngestBroker.partitions))

      let labels = try await service.publish(service.labels, [PublishRequest(sequence: 1, messages: [SampleRecords.label("x", 5), SampleRecords.label("y", 1)])])
      #expect(labels.first?.refusals.map(\.reason) == ["label_out_of_range"])
      #expect(try service.broker.read("labels").map(\.value) == [SampleRecords.label("y", 1)])
      #expect(try service.broker.read("labels.dead-letter").map(\.value) == [SampleRecords.label("x", 5)])
      let text = service.registry.text()
      #expect(text.contains("millrace_ingest_records_total{kind=\"events\"} 4") && text.contains("millrace_ingest_acks_total{kind=\"labels\"} 1"))
    }
  }

  /// The largest record that the limits take is larger than what a Kafka client takes by default: it is refused, not lost.
  @Test func aRecordThatKafkaDoesNotTakeIsRefused() async throws {
    try await withService { service in
      let head = Array(#"{"id":"l","features":{"city":"x"}"#.utf8)
      let record = head + [UInt8](repeating: 0x20, count: (1 << 20) - head.count - 1) + [UInt8(ascii: "}")]
      let acks = try await service.publish(service.events, [PublishRequest(sequence: 1, records: [record])])
      #expect(acks.first?.refusals.map(\.reason) == ["payload_too_large"])
      #expect(try service.broker.read("features.dead-letter").map(\.value) == [Array(record.prefix(DeadLetter.valueBytesMax))])
    }
  }

  @Test func brokenRequestsEndTheStreamAndOthersGoOn() async throws {
    try await withService { service in
      let good = service.channel.stream(service.events)
      try await good.send(PublishRequest(sequence: 1, messages: [SampleRecords.event("a")]).bytes)
      let broken = service.channel.stream(service.events)
      try await broken.send(PublishRequest(sequence: 1, messages: [SampleRecords.event("b")]).bytes)
      try await broken.send([0xFF, 0xFF])
      var acks = 0
      do {
        for try await _ in broken { acks += 1 }
        Issue.record("it ended with OK")
      } catch let status as RPCStatus {
        #expect(status.code == .invalidArgument && status.message.contains("request"), "\(status)")
      }
      #expect(acks == 1, "what was accepted before is acknowledged")
      try await good.send(PublishRequest(sequence: 2, messages: [SampleRecords.event("c")]).bytes)
      good.finish()
      var sequences: [UInt64] = []
      for try await message in good { sequences.append(PublishAck(message)?.sequence ?? 0) }
      #expect(sequences == [1, 2])
    }
  }

  @Test func aDrainAcknowledgesWhatWasAcceptedAndEndsTheStreams() async throws {
    try await withService { service in
      let streams = (0..<5).map { _ in service.channel.stream(service.events) }
      for stream in streams {
        for n in 1...10 { try await stream.send(PublishRequest(sequence: UInt64(n), messages: [SampleRecords.event("d\(n)")]).bytes) }
      }
      // One ack of each: the streams are known to the server.
      var iterators = streams.map { $0.makeAsyncIterator() }
      for index in iterators.indices { _ = try await iterators[index].next() }
      service.ingest.beginDrain()
      service.server.beginDrain()
      for index in iterators.indices {
        var acknowledged = 1
        do {
          while try await iterators[index].next() != nil { acknowledged += 1 }
          Issue.record("the client did not end the stream")
        } catch let status as RPCStatus {
          #expect(status.code == .unavailable, "\(status)")
        }
        #expect(acknowledged >= 1 && acknowledged <= 10)
      }
      await service.server.stop(graceMilliseconds: 5_000)
      #expect(try service.broker.read("features").count >= 5)
    }
  }

  @Test func aClientThatVanishesLeavesNothingBehind() async throws {
    try await withService { service in
      for n in 0..<20 {
        let stream = service.channel.stream(service.events)
        try await stream.send(PublishRequest(sequence: 1, messages: (0..<50).map { SampleRecords.event("v\(n)-\($0)") }).bytes)
        stream.cancel()
      }
      try await IngestBroker.wait("all streams are gone") { service.registry.text().contains("millrace_ingest_streams{kind=\"events\"} 0") }
      let acks = try await service.publish(service.events, [PublishRequest(sequence: 9, messages: [SampleRecords.event("after")])])
      #expect(acks.map(\.sequence) == [9])
    }
  }

  /// The broker goes away and comes back: no ack meanwhile, then all of them, and everything once in the log.
  @Test func acksWaitForABrokerThatIsAway() async throws {
    try await withService { service in
      let stream = service.channel.stream(service.events)
      try await stream.send(PublishRequest(sequence: 1, messages: [SampleRecords.event("before")]).bytes)
      var acks = stream.makeAsyncIterator()
      #expect(try await acks.next().flatMap { PublishAck($0)?.sequence } == 1)
      await service.broker.goAway()
      for n in 2...20 { try await stream.send(PublishRequest(sequence: UInt64(n), messages: [SampleRecords.event("away\(n)")]).bytes) }
      try await IngestBroker.wait("the records are with the Kafka client") {
        service.registry.text().contains("millrace_endpoint_producer_records 19")
      }
      #expect(service.registry.text().contains("millrace_ingest_acks_total{kind=\"events\"} 1"))
      try await service.broker.comeBack()
      stream.finish()
      var sequences: [UInt64] = []
      while let ack = try await acks.next() { sequences.append(PublishAck(ack)?.sequence ?? 0) }
      #expect(sequences == Array(2...20))
      let ids = try service.broker.read("features").map { String(decoding: $0.key, as: UTF8.self) }
      #expect(ids.count == 20 && Set(ids).count == 20)
    }
  }

  /// A client that reads no acks is not read from: what it may have on the way is bounded, and others do not notice.
  @Test func aClientThatReadsNothingStopsBeingReadFrom() async throws {
    var limits = IngestLimits()
    limits.unreadAckBytesMax = 64 << 10
    try await withService(limits: limits, clientWindowBytes: 65_535) { service in
      let greedy = service.channel.stream(service.events)
      let bad = PublishRequest(sequence: 1, messages: Array(repeating: SampleRecords.event(""), count: 100)).bytes
      let sender = Task { while !Task.isCancelled { try await greedy.send(bad) } }
      try await IngestBroker.wait("it is not read from") {
        service.registry.text().contains(#/millrace_ingest_pauses_total\{kind="events"\} [1-9]/#)
      }
      let other = try RPCChannel(target: RPCTarget(host: "127.0.0.1", port: service.port))
      let publisher = RecordPublisher(channel: other, kind: .events)
      #expect(try await publisher.publish([SampleRecords.event("fine")]).refusals.isEmpty)
      sender.cancel()
      greedy.cancel()
      _ = try? await sender.value
      publisher.finish()
      await other.close()
      try await IngestBroker.wait("all streams are gone") { service.registry.text().contains("millrace_ingest_streams{kind=\"events\"} 0") }
    }
  }

  @Test func aPublisherOfManyTasksGetsEachItsOwnResult() async throws {
    try await withService { service in
      let publisher = RecordPublisher(channel: service.channel, kind: .events, contentType: "application/json")
      try await withThrowingTaskGroup(of: Void.self) { group in
        for n in 0..<40 {
          group.addTask {
            let result = try await publisher.publish(
              [SampleRecords.event("t\(n)", form: .json), Array("{\"id\":\"\"}".utf8), SampleRecords.event("u\(n)", form: .json)])
            #expect(result.places.count == 3 && result.places[0] != nil && result.places[1] == nil && result.places[2] != nil)
            #expect(result.refusals.map(\.index) == [1] && result.refusals.first?.reason == "missing_id")
          }
        }
        try await group.waitForAll()
      }
      publisher.finish()
      // Again: by a new stream.
      #expect(try await publisher.publish([SampleRecords.event("again", form: .json)]).refusals.isEmpty)
      #expect(try service.broker.read("features").count == 81)
    }
  }

  @Test(.enabled(if: ChildProcess.python != nil, "no Python with grpcio: `make test` sets it up"))
  func grpcioPublishes() async throws {
    try await withService { service in
      let python = try #require(ChildProcess.python)
      let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("Clients/ingest.py")
      let text = try await ChildProcess.run(
        python, [script.path, "\(service.port)"] + (ProcessInfo.processInfo.environment["MILLRACE_INGEST_SECONDS"].map { [$0] } ?? []))
      #expect(text.hasSuffix("ok\n"), "\(text)")
      if ProcessInfo.processInfo.environment["MILLRACE_INGEST_SECONDS"] != nil { print(text) }
      let ids = Set(try service.broker.read("labels").map(\.key))
      #expect(ids == Set(["p1", "p2", "p4", "p5"].map { Array($0.utf8) }))
    }
  }

  // MARK: The server

  struct Service {
    let port: Int
    let broker: IngestBroker
    let registry: Registry
    let ingest: IngestService
    let producer: EndpointProducer
    let server: RPCServer
    let channel: RPCChannel
    let events = MethodPath(service: IngestService.name, method: "PublishEvents")
    let labels = MethodPath(service: IngestService.name, method: "PublishLabels")

    func publish(_ method: MethodPath, _ requests: [PublishRequest]) async throws -> [PublishAck] {
      let stream = channel.stream(method)
      for request in requests { try await stream.send(request.bytes) }
      stream.finish()
      var acks: [PublishAck] = []
      for try await message in stream { acks.append(try #require(PublishAck(message))) }
      return acks
    }
  }

  private func withService(limits: IngestLimits = IngestLimits(), clientWindowBytes: Int? = nil, _ body: (Service) async throws -> Void) async throws {
    try await IngestBroker.with { broker in
      let registry = Registry()
      let producer = EndpointProducer(kafka: broker.kafka, registry: registry, logger: IngestBroker.quiet)
      try producer.start()
      let ingest = IngestService(
        producer: producer, settings: IngestServiceSettings(models: [SampleRecords.model], limits: limits), registry: registry)
      try ingest.start()
      var settings = RPCServerSettings()
      settings.loops = 2
      let server = RPCServer(settings: settings, services: [ingest.service], registry: registry, logger: IngestBroker.quiet)
      let port = try await server.start()
      var client = RPCChannelSettings()
      if let clientWindowBytes { client.streamWindowBytes = clientWindowBytes }
      let channel = try RPCChannel(target: RPCTarget(host: "127.0.0.1", port: port), settings: client)
      do {
        try await body(
          Service(
            port: port, broker: broker, registry: registry, ingest: ingest, producer: producer, server: server, channel: channel))
      } catch {
        Issue.record(error)
      }
      await channel.close()
      ingest.beginDrain()
      await server.stop(graceMilliseconds: 5_000)
      producer.stop()
    }
  }
}
