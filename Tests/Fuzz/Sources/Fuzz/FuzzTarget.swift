/// A decoder under fuzzing: `make` sets up what it needs once, and the closure takes one input. Any trap, sanitizer report or broken
/// promise (checked with `check`) is a finding.
struct FuzzTarget: Sendable {
  let name: String
  let make: @Sendable () -> (UnsafeRawBufferPointer) -> Void

  nonisolated(unsafe) static var current: (UnsafeRawBufferPointer) -> Void = { _ in }

  static let all: [FuzzTarget] = [
    FuzzTarget(name: "events-json", make: eventsJSON),
    FuzzTarget(name: "events-protobuf", make: eventsProtobuf),
    FuzzTarget(name: "events-v2", make: eventsV2),
    FuzzTarget(name: "infer-requests", make: inferRequests),
    FuzzTarget(name: "inference-batch", make: inferenceBatch),
    FuzzTarget(name: "labels", make: labels),
    FuzzTarget(name: "examples", make: examples),
    FuzzTarget(name: "predictions", make: predictions),
    FuzzTarget(name: "table", make: table),
    FuzzTarget(name: "update-records", make: updateRecords),
    FuzzTarget(name: "specifications", make: specifications),
    FuzzTarget(name: "settings", make: settings),
    FuzzTarget(name: "lightgbm-models", make: lightgbmModels),
    FuzzTarget(name: "xgboost-models", make: xgboostModels),
    FuzzTarget(name: "bundle", make: bundle),
    FuzzTarget(name: "onnx-models", make: onnxModels),
    FuzzTarget(name: "broker-requests", make: brokerRequests),
    FuzzTarget(name: "rpc-server-bytes", make: rpcServerBytes),
    FuzzTarget(name: "rpc-server-frames", make: rpcServerFrames),
  ]

  static func named(_ name: String) -> FuzzTarget? { all.first { $0.name == name } }
}

/// A promise that must hold for every input.
func check(_ holds: Bool, _ promise: @autoclosure () -> String) {
  if !holds { fatalError("broken promise: \(promise())") }
}
