import ArgumentParser

/// `millrace bench`: figures of single parts, in memory.
struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Measure single parts in memory: codecs, learning.",
    discussion: """
      EXAMPLES
        millrace bench decode
        millrace bench ftrl
        millrace bench train
      """,
    subcommands: [BenchDecodeCommand.self, BenchFTRLCommand.self, BenchTrainCommand.self])
}
