import ArgumentParser

/// `millrace bench`: figures of single parts, in memory.
struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Measure single parts in memory: codecs.",
    discussion: """
      EXAMPLES
        millrace bench decode
      """,
    subcommands: [BenchDecodeCommand.self])
}
