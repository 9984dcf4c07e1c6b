import Logging
import Operations
import RPC
import Telemetry
import Testing

@testable import Endpoint

@Suite struct ControlServiceTests {
  private let levels = LogLevelSwitch(.info)

  private func control(_ models: [ServedModel]) -> ControlService {
    ControlService(catalog: ModelCatalog(models), version: "1", isReady: { true }, levels: levels)
  }

  private func status(_ body: () throws -> Void) -> RPCStatus? {
    do {
      try body()
      return nil
    } catch {
      return error as? RPCStatus
    }
  }

  private func names(_ messages: [ControlMessage]) -> [String] {
    messages.map { message in
      message.fields.map { if case .text(let text) = $0.value { text } else { "?" } }.joined(separator: " ")
    }
  }

  @Test func anUnloadedModelIsGoneUntilItIsLoaded() throws {
    let control = try control([ServedModels.model(), ServedModels.named("other")])
    #expect(control.isModelReady(name: "clicks", version: ""))
    try control.unload(repository: "", model: "clicks", parameters: ["unload_dependents"])
    #expect(!control.isModelReady(name: "clicks", version: ""))
    #expect(status { _ = try control.modelMetadata(name: "clicks", version: "") }?.code == .notFound)
    #expect(try names(control.repositoryIndex(repository: "", readyOnly: false)) == ["clicks 1 UNAVAILABLE unloaded", "other 1 READY "])
    #expect(try names(control.repositoryIndex(repository: "", readyOnly: true)) == ["other 1 READY "])
    try control.load(repository: "", model: "clicks", parameters: [])
    #expect(control.isModelReady(name: "clicks", version: ""))
  }

  @Test func aModelThatLagsIsNotReadyAndSaysWhy() throws {
    let readiness = ServedModels.Readiness()
    let control = try control([ServedModels.model(readiness: readiness)])
    readiness.isReady = false
    #expect(!control.isModelReady(name: "clicks", version: ""))
    let line = try #require(try names(control.repositoryIndex(repository: "", readyOnly: false)).first)
    #expect(line.hasPrefix("clicks 1 UNAVAILABLE arm"))
    #expect(try control.repositoryIndex(repository: "", readyOnly: true).isEmpty)
  }

  @Test func whatCannotBeLoadedIsRefusedWithTheReason() throws {
    let control = try control([ServedModels.model()])
    let unknown = status { try control.load(repository: "", model: "clocks", parameters: []) }
    #expect(unknown?.code == .notFound && unknown?.message.contains("clicks (1)") == true)
    for (name, word) in [("config", "configuration"), ("file:1/model.onnx", "files are refused"), ("other", "no such parameter")] {
      let refused = status { try control.load(repository: "", model: "clicks", parameters: [name]) }
      #expect(refused?.code == .invalidArgument && refused?.message.contains(word) == true && refused?.message.contains("parameters[\"\(name)\"]") == true)
    }
    #expect(status { try control.load(repository: "elsewhere", model: "clicks", parameters: []) }?.code == .notFound)
    #expect(status { try control.load(repository: "", model: "", parameters: []) }?.code == .invalidArgument)
    #expect(status { try control.load(repository: "", model: "clicks", parameters: ["unload_dependents"]) }?.code == .invalidArgument)
  }

  @Test func statisticsAreOfOneVersionOneNameOrAll() throws {
    let control = try control([ServedModels.model(version: 1), ServedModels.model(version: 2), ServedModels.named("other")])
    func identifiers(_ name: String, _ version: String) throws -> [String] {
      guard case .messages(let models)? = try control.statistics(name: name, version: version).fields.first?.value else { return [] }
      return models.map { names([$0])[0].split(separator: " ").prefix(2).joined(separator: ".") }
    }
    #expect(try identifiers("", "") == ["clicks.2", "clicks.1", "other.1"])
    #expect(try identifiers("clicks", "") == ["clicks.2", "clicks.1"])
    #expect(try identifiers("clicks", "1") == ["clicks.1"])
    #expect(status { _ = try identifiers("clicks", "3") }?.code == .notFound)
    #expect(status { _ = try identifiers("nothing", "") }?.code == .notFound)
    #expect(status { _ = try identifiers("", "1") }?.code == .invalidArgument)
    guard case .texts(let versions)? = try control.modelMetadata(name: "clicks", version: "").fields.first(where: { $0.name == "versions" })?.value
    else { return #expect(Bool(false), "versions are texts") }
    #expect(versions == ["1", "2"])
  }

  // MARK: Logging

  @Test(arguments: [
    ([("log_verbose_level", LogSettings.Value.number(1))], Logger.Level.debug),
    ([("log_verbose_level", .number(7))], .trace),
    ([("log_info", .flag(false))], .warning),
    ([("log_info", .flag(false)), ("log_warning", .flag(false))], .error),
    ([("log_info", .flag(false)), ("log_warning", .flag(false)), ("log_error", .flag(false))], .critical),
    ([("log_file", .text("")), ("log_format", .text("default"))], .info),
  ])
  func logSettingsMoveTheLevel(settings: [(String, LogSettings.Value)], level: Logger.Level) throws {
    try LogSettings(levels: levels).apply(settings.map { (name: $0.0, value: $0.1) })
    #expect(levels.level == level)
  }

  @Test(arguments: [
    ("log_file", LogSettings.Value.text("/tmp/log"), "files are refused"), ("log_format", .text("ISO8601"), "default"), ("log_warning", .flag(false), "log_info"),
    ("log_error", .flag(false), "log_warning"), ("log_info", .text("true"), "true or false"), ("log_verbose_level", .flag(true), "number"),
    ("log_level", .text("info"), "no such setting"),
  ])
  func logSettingsThatCannotBeAreRefusedWhole(name: String, value: LogSettings.Value, word: String) {
    let settings = LogSettings(levels: levels)
    let refused = status { try settings.apply([(name: "log_verbose_level", value: .number(1)), (name: name, value: value)]) }
    #expect(refused?.code == .invalidArgument)
    #expect(refused?.message.hasPrefix("\(name): ") == true && refused?.message.contains(word) == true, "\(refused?.message ?? "")")
    #expect(levels.level == .info, "nothing was applied")
  }

  @Test func aLevelBetweenIsKept() throws {
    levels.level = .notice
    try LogSettings(levels: levels).apply([(name: "log_error", value: .flag(true))])
    #expect(levels.level == .notice)
  }

  // MARK: Tracing

  @Test func tracingIsOffAndStaysSo() {
    #expect(status { try TraceSettings.apply([(name: "trace_level", values: ["OFF"]), (name: "trace_rate", values: [])]) } == nil)
    for (name, word) in [("trace_level", "not traced"), ("trace_file", "files are refused"), ("trace_what", "no such setting")] {
      let refused = status { try TraceSettings.apply([(name: name, values: ["TIMESTAMPS"])]) }
      #expect(refused?.code == .invalidArgument && refused?.message.contains(word) == true)
    }
  }
}
