import ArgumentParser

/// `millrace model`: what can be done to a model without serving it.
struct ModelCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "model", abstract: "Import, inspect, verify, measure, score and quantize models; create and checkpoint those that learn.",
    discussion: """
      A model that learns is what its update log makes of it, and is named name.version: create, checkpoint and restore are for those, and \
      inspect and verify replay the log (or start from a checkpoint). A model that was trained elsewhere is a bundle, one file that import \
      makes: inspect, verify, bench, score and quantize take its path. None of them needs a running instance, and all may be used beside one.

      EXAMPLES
        From LightGBM to what a server serves:
          millrace model import model.txt --name fraud
          millrace model inspect fraud.millrace
          millrace model bench fraud.millrace
        Create the topics of a model:
          millrace model create --file flights.yaml --bootstrap 127.0.0.1:9092
        What does it know?
          millrace model inspect flights.1 --bootstrap 127.0.0.1:9092
        Are log, checkpoints and code of one mind?
          millrace model verify flights.1 --bootstrap 127.0.0.1:9092 --checkpoints ./checkpoints

      EXIT CODES
        0 done, 1 it could not be done or something does not agree, 64 wrong usage.
      """,
    subcommands: [
      ModelImportCommand.self, ModelBenchCommand.self, ModelScoreCommand.self, ModelQuantizeCommand.self, ModelCreateCommand.self, ModelInspectCommand.self, ModelCheckpointCommand.self, ModelRestoreCommand.self,
      ModelVerifyCommand.self,
    ])
}
