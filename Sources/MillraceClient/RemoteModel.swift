internal import RPC

/// What a server says of one of its models.
public struct RemoteModel: Sendable, Equatable {
  public struct Input: Sendable, Equatable {
    public var name: String
    /// As the server names it: "FP32". One that this library does not know cannot be written.
    public var datatype: String
    /// -1: any size. Of models with named features [-1, 1], or [-1, -1] for several values.
    public var shape: [Int64]
    /// A column that takes the names of categories as BYTES, besides numbers of any datatype.
    public var takesNames: Bool

    public init(name: String, datatype: String, shape: [Int64], takesNames: Bool = false) {
      self.name = name
      self.datatype = datatype
      self.shape = shape
      self.takesNames = takesNames
    }
  }

  public var name = ""
  public var versions: [String] = []
  public var platform = ""
  public var inputs: [Input] = []
  public var outputs: [Input] = []
  public var properties: [String: String] = [:]

  public init() {}

  /// The inputs, and behind them the columns by which a tensor can be given instead (property `columns.<input>`): one value for each row.
  /// Those that take names of categories are in the property `categories.<input>`.
  public var namedInputs: [Input] {
    inputs + inputs.flatMap { input in
      let named = Set((properties["categories.\(input.name)"] ?? "").split(separator: ","))
      return (properties["columns.\(input.name)"] ?? "").split(separator: ",").map {
        Input(name: String($0), datatype: input.datatype, shape: [-1, 1], takesNames: named.contains($0))
      }
    }
  }

  /// Reads a ModelMetadataResponse.
  init(response: [UInt8]) throws(RPCStatus) {
    var reader = ProtobufReader(response, of: "ModelMetadataResponse")
    while let (number, value) = try reader.next() {
      switch number {
      case 1: name = try reader.text(value, "name")
      case 2: versions.append(try reader.text(value, "versions"))
      case 3: platform = try reader.text(value, "platform")
      case 4: inputs.append(try Self.readTensor(try reader.bytes(value, "inputs")))
      case 5: outputs.append(try Self.readTensor(try reader.bytes(value, "outputs")))
      case 6:
        var entry = ProtobufReader(try reader.bytes(value, "properties"), of: "properties")
        var key = ""
        var text = ""
        while let (number, value) = try entry.next() {
          if number == 1 { key = try entry.text(value, "key") }
          if number == 2 { text = try entry.text(value, "value") }
        }
        properties[key] = text
      default: break
      }
    }
  }

  private static func readTensor(_ bytes: ArraySlice<UInt8>) throws(RPCStatus) -> Input {
    var input = Input(name: "", datatype: "", shape: [])
    var reader = ProtobufReader(bytes, of: "TensorMetadata")
    while let (number, value) = try reader.next() {
      switch number {
      case 1: input.name = try reader.text(value, "name")
      case 2: input.datatype = try reader.text(value, "datatype")
      case 3: input.shape += try reader.numbers(value, "shape").map { Int64(bitPattern: $0) }
      default: break
      }
    }
    return input
  }
}

/// One entry of a server's index of models.
public struct RemoteModelState: Sendable, Equatable {
  public var name = ""
  public var version = ""
  /// "READY", "UNAVAILABLE"…
  public var state = ""
  public var reason = ""
}

/// How many requests a server has answered for a model, and how long they took.
public struct RemoteModelStatistics: Sendable, Equatable {
  public struct Duration: Sendable, Equatable {
    public var count: UInt64 = 0
    public var nanoseconds: UInt64 = 0
  }

  public var name = ""
  public var version = ""
  /// Rows, and batches that they ran in.
  public var inferenceCount: UInt64 = 0
  public var executionCount: UInt64 = 0
  public var success = Duration()
  public var failure = Duration()
  public var queue = Duration()
  public var compute = Duration()

  init(_ bytes: ArraySlice<UInt8>) throws(RPCStatus) {
    var reader = ProtobufReader(bytes, of: "ModelStatistics")
    while let (number, value) = try reader.next() {
      switch number {
      case 1: name = try reader.text(value, "name")
      case 2: version = try reader.text(value, "version")
      case 4: inferenceCount = try reader.number(value, "inference_count")
      case 5: executionCount = try reader.number(value, "execution_count")
      case 6:
        var parts = ProtobufReader(try reader.bytes(value, "inference_stats"), of: "InferStatistics")
        while let (number, value) = try parts.next() {
          guard number <= 6 else { continue }
          let duration = try Self.readDuration(try parts.bytes(value, "inference_stats"))
          switch number {
          case 1: success = duration
          case 2: failure = duration
          case 3: queue = duration
          case 5: compute = duration
          default: break
          }
        }
      default: break
      }
    }
  }

  private static func readDuration(_ bytes: ArraySlice<UInt8>) throws(RPCStatus) -> Duration {
    var duration = Duration()
    var reader = ProtobufReader(bytes, of: "StatisticDuration")
    while let (number, value) = try reader.next() {
      if number == 1 { duration.count = try reader.number(value, "count") }
      if number == 2 { duration.nanoseconds = try reader.number(value, "ns") }
    }
    return duration
  }
}
