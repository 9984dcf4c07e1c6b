import ChildProcesses
import Foundation
import Testing

/// Programs that others wrote for other servers, unmodified, against the binary.
@Suite(.serialized) struct OtherClientsTests {
  private static let noPython: Comment =
    "no Python with tritonclient and grpcio: `make test` makes one in .build/venv, or name one in MILLRACE_PYTHON"
  private static let openssl = "/usr/bin/openssl"

  private static func script(_ name: String) -> String {
    MillraceProcess.packageFolder.appendingPathComponent("Tests/CommandLineTests/Clients/\(name)").path
  }

  private static func python(_ name: String, _ arguments: String...) async throws -> String {
    try await ChildProcess.run(try #require(ChildProcess.python), ["-u", script(name)] + arguments)
  }

  @Test(.enabled(if: ChildProcess.python != nil, noPython), .timeLimit(.minutes(3)))
  func clientsOfOtherServersWorkUnchanged() async throws {
    let instance = try RunningInstance()
    try instance.start()
    let address = ["grpc=127.0.0.1:\(instance.grpcPort)", "http=127.0.0.1:\(instance.httpPort)", "control=127.0.0.1:\(instance.controlPort)"]
    // The first one teaches the model, so that for the others scores tell rows apart.
    for name in ["reflection.py", "triton_grpc.py", "triton_aio.py", "triton_http.py"] {
      do {
        let output = try await Self.python(name, address[0], address[1], address[2])
        #expect(output.hasSuffix("ok\n"), "\(name): \(output)")
      } catch {
        Issue.record("\(name): \(error)\n\(instance.tail)")
      }
    }
    // What the documentation shows is what works.
    let root = MillraceProcess.packageFolder.path
    do {
      let output = try await Self.python(
        "documented.py", address[0], address[1], address[2], "millrace=\(MillraceProcess.binary.path)",
        "files=\(root)/README.md,\(root)/docs/endpoint.md,\(root)/docs/ingest.md")
      #expect(output.hasSuffix("ok\n"), "\(output)")
    } catch {
      Issue.record("\(error)\n\(instance.tail)")
    }
    // Whoever watches hears of the stop before the connection goes.
    let watch = try ChildProcess(try #require(ChildProcess.python), ["-u", Self.script("watch.py"), address[0]])
    try await watch.until("it serves") { watch.text.hasPrefix("SERVING\n") }
    #expect(instance.stop() == 0, "\(instance.tail)")
    _ = try await watch.wait()
    #expect(watch.text.hasPrefix("SERVING\nNOT_SERVING\n"), "\(watch.text)")
  }

  @Test(.enabled(if: ChildProcess.python != nil, noPython), .timeLimit(.minutes(3)))
  func serversThatStopUnderLoadFailNoRequest() async throws {
    let instances = [try RunningInstance(), try RunningInstance()]
    for instance in instances { try instance.launch() }
    for instance in instances { try instance.waitUntilReady() }
    let input = Pipe()
    let client = try ChildProcess(
      try #require(ChildProcess.python),
      ["-u", Self.script("drain.py"), "servers=" + instances.map { "127.0.0.1:\($0.grpcPort)" }.joined(separator: ",")],
      input: input.fileHandleForReading)
    /// Waits until `count` more requests were answered.
    func answered(_ count: Int) async throws {
      var first: Int?
      var lines = client.text.split(separator: "\n").count
      let deadline = Date().addingTimeInterval(60)
      while true {
        try input.fileHandleForWriting.write(contentsOf: Data("?\n".utf8))
        try await client.until("an answer") { client.text.split(separator: "\n").count > lines }
        let line = client.text.split(separator: "\n")[lines].split(separator: " ").compactMap { Int($0) }
        lines += 1
        guard line.count == 2, line[1] == 0 else { throw ChildProcess.Failure(description: "requests failed:\n\(client.text)") }
        first = first ?? line[0]
        if line[0] >= first! + count { return }
        guard Date() < deadline else { throw ChildProcess.Failure(description: "not \(count) more requests in 60 s:\n\(client.text)") }
        try await Task.sleep(for: .milliseconds(10))
      }
    }
    try await answered(300)
    for stopped in 0..<2 {
      // The load goes on while it stops.
      #expect(instances[stopped].stop() == 0, "\(instances[stopped].tail)")
      try await answered(100)
      try instances[stopped].start()
      // Until the client has found it again: the other one could not be stopped before.
      let served = instances[stopped].requestsServed
      try eventually("requests at the server that came back\n\(client.text)\n\(instances[stopped].tail)") {
        (instances[stopped].requestsServed ?? 0) > (served ?? 0) + 10
      }
    }
    try input.fileHandleForWriting.close()
    #expect(try await client.wait() == 0, "\(client.text)")
    #expect(client.text.contains("ok"), "\(client.text)")
    for instance in instances { #expect(instance.stop() == 0, "\(instance.tail)") }
  }

  @Test(
    .enabled(if: ChildProcess.python != nil, noPython),
    .enabled(if: FileManager.default.isExecutableFile(atPath: openssl), "no openssl on this machine"), .timeLimit(.minutes(3)))
  func certificatesDecideWhoIsAnswered() async throws {
    let certificates = try ScratchFolder()
    try await ChildProcess.run(Self.script("certificates.sh"), [certificates.url.path])
    let folder = certificates.url.path
    for (client, authority) in [("anyone", ""), ("certified", ", client_ca: \(folder)/ca.pem")] {
      let instance = try RunningInstance(grpc: "tls: {certificate: \(folder)/server.pem, key: \(folder)/server.key\(authority)}")
      try instance.start()
      do {
        let output = try await Self.python(
          "secure.py", "grpc=127.0.0.1:\(instance.grpcPort)", "certificates=\(folder)", "client=\(client)")
        #expect(output.hasSuffix("ok\n"), "\(output)")
      } catch {
        Issue.record("\(client): \(error)\n\(instance.tail)")
      }
      #expect(instance.stop() == 0, "\(instance.tail)")
    }
  }
}
