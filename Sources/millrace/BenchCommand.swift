import ArgumentParser

/// `millrace bench`: figures of single parts.
struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Measure single parts: codecs, learning, answering, the wire.",
    discussion: """
      EXAMPLES
        millrace bench decode
        millrace bench ftrl
        millrace bench infer
        millrace bench kernels limits
        millrace bench rpc --port 9100
        millrace bench serve --specification flights.yaml --bodies flights.bodies
        millrace bench train
      """,
    subcommands: [
      BenchDecodeCommand.self, BenchFTRLCommand.self, BenchInferCommand.self, BenchKernelsCommand.self, BenchRPCCommand.self, BenchServeCommand.self,
      BenchTrainCommand.self,
    ])
}
