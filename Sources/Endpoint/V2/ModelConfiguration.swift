internal import Model
internal import ModelStore

extension ControlMessage {
  /// What clients may set by configuration elsewhere and must know here: inference.ModelConfig. Shapes are without the rows, which
  /// `max_batch_size` speaks of.
  ///
  /// `versions`: those of the name that are served. `labels`: of them, by label.
  init(configurationOf model: ServedModel, limits: InferenceLimits, versions: [String], labels: [String: Int]) {
    let metadata = model.metadata
    var parameters = metadata.properties
    if !labels.isEmpty { parameters["labels"] = labels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ",") }
    self.init([
      (1, "name", .text(metadata.name)),
      (2, "platform", .text(metadata.platform)),
      (17, "backend", .text("millrace")),
      (3, "version_policy", .message(ControlMessage([(3, "specific", .message(ControlMessage([(1, "versions", .integers(versions.compactMap { Int64($0) }))])))]))),
      (4, "max_batch_size", .integer(Self.rowsMax(of: model, limits: limits))),
      (5, "input", .messages(metadata.inputs.map { Self.tensor($0, isInput: true) })),
      (6, "output", .messages(metadata.outputs.map { Self.tensor($0, isInput: false) })),
      (7, "instance_group", .messages([Self.instances(of: model)])),
      // Requests that arrive together are scored together, without waiting for more.
      (11, "dynamic_batching", .message(ControlMessage([(2, "max_queue_delay_microseconds", .integer(0))]))),
      (14, "parameters", .map(parameters.sorted { $0.key < $1.key }.map { ($0.key, Self.parameter($0.value)) })),
      (19, "model_transaction_policy", .message(ControlMessage([(1, "decoupled", .flag(false))]))),
    ])
  }

  /// Rows that a request with every input once may have.
  static func rowsMax(of model: ServedModel, limits: InferenceLimits) -> Int64 {
    if let loaded = model.loaded { return Int64(loaded.maxBatchSize) }
    return Int64(max(1, min(limits.valuesMax / max(1, model.metadata.inputs.count), Int(Int32.max))))
  }

  private static func instances(of model: ServedModel) -> ControlMessage {
    ControlMessage([(1, "name", .text(model.name)), (2, "count", .integer(1)), (4, "kind", .choice(2, "KIND_CPU"))])
  }

  private static func parameter(_ text: String) -> Value { .message(ControlMessage([(1, "string_value", .text(text))])) }

  private static func tensor(_ tensor: TensorMetadata, isInput: Bool) -> ControlMessage {
    let type = dataType(tensor.datatype)
    var message = ControlMessage([(1, "name", .text(tensor.name)), (2, "data_type", .choice(type.number, type.name))])
    let dims = Field(number: isInput ? 4 : 3, name: "dims", value: .integers(Array(tensor.shape.dropFirst())))
    if isInput {
      message.fields.append(Field(number: 3, name: "format", value: .choice(0, "FORMAT_NONE")))
      message.fields.append(dims)
      // Events differ in the features they have; one that a request leaves out is absent.
      message.fields.append(Field(number: 8, name: "optional", value: .flag(tensor.isOptional)))
    } else {
      message.fields.append(dims)
    }
    return message
  }

  /// inference.DataType of a datatype of the tensors.
  static func dataType(_ datatype: String) -> (number: UInt64, name: String) {
    switch datatype {
    case "BOOL": (1, "TYPE_BOOL")
    case "UINT8": (2, "TYPE_UINT8")
    case "UINT16": (3, "TYPE_UINT16")
    case "UINT32": (4, "TYPE_UINT32")
    case "UINT64": (5, "TYPE_UINT64")
    case "INT8": (6, "TYPE_INT8")
    case "INT16": (7, "TYPE_INT16")
    case "INT32": (8, "TYPE_INT32")
    case "INT64": (9, "TYPE_INT64")
    case "FP16": (10, "TYPE_FP16")
    case "FP32": (11, "TYPE_FP32")
    case "FP64": (12, "TYPE_FP64")
    case "BYTES": (13, "TYPE_STRING")
    case "BF16": (14, "TYPE_BF16")
    default: (0, "TYPE_INVALID")
    }
  }
}
