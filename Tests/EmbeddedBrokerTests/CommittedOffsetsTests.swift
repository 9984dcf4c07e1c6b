import Logging
import Testing

@testable import EmbeddedBroker

@Suite struct CommittedOffsetsTests {
  private let quiet = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

  private func commit(_ offset: Int64) -> CommittedOffsets.Commit { .init(offset: offset, leaderEpoch: 0, metadata: "m\(offset)") }

  @Test func surviveRestartsAndTornTailsAtEveryByte() throws {
    let directory = try TemporaryDirectory()
    let place = CommittedOffsets.Place(topic: "t", partition: 1)
    let other = CommittedOffsets.Place(topic: "u", partition: 0)
    do {
      let offsets = try CommittedOffsets(directory: directory.path, logger: quiet)
      try offsets.commit("g", [(place, commit(1)), (other, commit(2))])
      try offsets.commit("h", [(place, commit(3))])
      try offsets.commit("g", [(place, commit(4))])
      try offsets.remove(group: "h")
      try offsets.remove(topic: "u")
    }
    let path = directory.path + "/offsets"
    let descriptor = try LogFile.open(path, create: false)
    let size = try LogFile.size(descriptor, path)
    closeDescriptor(descriptor)
    let whole = try CommittedOffsets(directory: directory.path, logger: quiet)
    #expect(whole.groups == ["g": [place: commit(4)]])
    for count in (0..<size).reversed() {
      let descriptor = try LogFile.open(path, create: false)
      try LogFile.truncate(descriptor, path, to: count)
      closeDescriptor(descriptor)
      let offsets = try CommittedOffsets(directory: directory.path, logger: quiet)
      // Each state is one that was, never a mixture.
      let g = offsets.groups["g"]?[place]
      #expect(g == nil || g == commit(1) || g == commit(4))
      if g == commit(4) { #expect(offsets.groups["g"]?[other] == commit(2)) }
    }
    #expect(try CommittedOffsets(directory: directory.path, logger: quiet).groups.isEmpty)
  }

  @Test func theFileIsRewrittenWhenItIsMostlyOutdated() throws {
    let directory = try TemporaryDirectory()
    let offsets = try CommittedOffsets(directory: directory.path, logger: quiet)
    let places = (0..<50).map { CommittedOffsets.Place(topic: "some-longer-topic-name", partition: Int32($0)) }
    for round in 0..<3_000 { try offsets.commit("group", places.map { ($0, commit(Int64(round))) }) }
    let path = directory.path + "/offsets"
    let descriptor = try LogFile.open(path, create: false)
    #expect(try LogFile.size(descriptor, path) < 5 << 20)
    closeDescriptor(descriptor)
    let restarted = try CommittedOffsets(directory: directory.path, logger: quiet)
    #expect(restarted.groups == offsets.groups)
    #expect(restarted.groups["group"]?[places[7]] == commit(2_999))
  }
}
