import Foundation
import Testing

@testable import LoadTest

@Suite struct LoadLimitTests {
  @Test func theBusySideIsNamed() {
    func side(_ generator: Double, _ server: Double?, of processors: Int? = 1, machine: Int = 4) -> LoadLimit.Side {
      LoadLimit(
        generatorProcessors: generator, generatorThreads: 1, serverProcessors: server, serverProcessorsMax: server == nil ? nil : processors,
        machineProcessors: machine).side
    }
    #expect(side(0.99, nil) == .generator)
    #expect(side(0.4, nil) == .unknown)
    #expect(side(0.4, 1.0) == .server)
    #expect(side(0.99, 0.5) == .generator)
    #expect(side(0.5, 0.5) == .neither)
    #expect(side(0.8, 1.18, of: 2, machine: 2) == .machine)
    #expect(side(0.99, 0.99, machine: 2) == .machine)
    let text = LoadLimit(generatorProcessors: 0.305, generatorThreads: 2, serverProcessors: 1.0, serverProcessorsMax: 1, machineProcessors: 4).text
    #expect(text.contains("0.31 processors on 2 threads") && text.contains("server 1.00 of 1") && text.contains("the server was the limit"))
  }

  @Test func processorTimeOfAProcessGoesOn() throws {
    let own = ProcessorTime()
    let before = try #require(own.nanoseconds())
    var sum = 0.0
    while try #require(own.nanoseconds()) < before + 2_000_000 { sum += sum.squareRoot() + 1 }
    #expect(sum > 0)
    let other = try #require(ProcessorTime(processIdentifier: getpid()))
    #expect(try #require(other.nanoseconds()) > before)
    #expect(try #require(other.residentBytes()) > 1 << 20)
    #expect((1...4_096).contains(other.processors()) && other.processors() <= ProcessorTime.online)
    #expect(ProcessorTime(processIdentifier: -1) == nil)
  }

  @Test func aRequestByHandIsWholeFrames() {
    let message = [UInt8](repeating: 7, count: 40_000)
    let bytes = SilentConnections.request(message, stream: 5, authority: "127.0.0.1:1")
    var at = 0
    var frames: [(type: UInt8, flags: UInt8, length: Int)] = []
    while at < bytes.count {
      let length = Int(bytes[at]) << 16 | Int(bytes[at + 1]) << 8 | Int(bytes[at + 2])
      frames.append((bytes[at + 3], bytes[at + 4], length))
      #expect(Array(bytes[(at + 5)..<(at + 9)]) == [0, 0, 0, 5])
      at += 9 + length
    }
    #expect(at == bytes.count)
    #expect(frames.map(\.type) == [1, 0, 0, 0])
    #expect(frames[0].flags == 4 && frames[3].flags == 1 && frames[1].flags == 0)
    #expect(frames.dropFirst().reduce(0) { $0 + $1.length } == message.count + 5)
  }
}
