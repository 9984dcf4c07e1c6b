public import Model

/// What a bundle says of its model besides the tensors. Stands as JSON in the file; keys that this build does not know are kept.
public struct BundleManifest: Sendable, Equatable {
  /// Where the model came from.
  public struct Source: Sendable, Equatable {
    /// "lightgbm", "xgboost", "onnx", "pytorch", "millrace", …
    public var tool: String
    public var toolVersion: String?
    /// The name of the file that was imported, without its folder.
    public var file: String?
    public var byteCount: Int?
    /// CRC-32C of that file.
    public var checksum: UInt32?

    public init(tool: String, toolVersion: String? = nil, file: String? = nil, byteCount: Int? = nil, checksum: UInt32? = nil) {
      self.tool = tool
      self.toolVersion = toolVersion
      self.file = file
      self.byteCount = byteCount
      self.checksum = checksum
    }
  }

  /// CRC-32C, as sections and sources have it.
  public static func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt32 { BundleFormat.checksum(bytes) }

  public static let textBytesMax = 1 << 16
  public static let tensorsMax = 4_096
  public static let rankMax = 8
  public static let dimensionMax = 1 << 40

  /// The model's name, as requests give it.
  public var name: String
  /// 1 and above.
  public var version: Int
  /// "trees", "fm", "dlrm", "onnx", …: who reads the sections.
  public var family: String
  /// Of the family's sections and parameters: a family refuses what is newer than itself (`require`).
  public var familyVersion: Int
  public var inputs: [InputTensor]
  public var outputs: [OutputTensor]
  /// How named features become rows, as YAML, for families that hash them.
  public var specification: String?
  public var maxBatchSize: Int?
  /// "stable", "canary", …: labels that a server gives this version unless its configuration says otherwise.
  public var labels: [String]
  public var source: Source?
  /// The family's own settings.
  public var parameters: JSONValue
  /// What was quantized, how, and what it cost, as `millrace model quantize` found it.
  public var quantization: JSONValue?
  /// What the model scored on data at hand when the bundle was made: AUC, log loss, reference scores.
  public var evaluation: JSONValue?
  /// Keys that this build does not know, as they were.
  public var others: [String: JSONValue]

  public init(
    name: String, version: Int = 1, family: String, familyVersion: Int = 1, inputs: [InputTensor] = [], outputs: [OutputTensor],
    specification: String? = nil, maxBatchSize: Int? = nil, labels: [String] = [], source: Source? = nil, parameters: JSONValue = .object([:]),
    quantization: JSONValue? = nil, evaluation: JSONValue? = nil
  ) {
    self.name = name
    self.version = version
    self.family = family
    self.familyVersion = familyVersion
    self.inputs = inputs
    self.outputs = outputs
    self.specification = specification
    self.maxBatchSize = maxBatchSize
    self.labels = labels
    self.source = source
    self.parameters = parameters
    self.quantization = quantization
    self.evaluation = evaluation
    others = [:]
  }

  /// `<name>.<version>`
  public var identifier: String { "\(name).\(version)" }

  /// Refuses a bundle of another family, or one laid out by a newer build.
  public func require(family wanted: String, versionMax: Int) throws(BundleError) {
    guard family == wanted else { throw BundleError(place: "manifest.family", reason: "this is a model of family \"\(family)\", not \"\(wanted)\"") }
    guard familyVersion >= 1, familyVersion <= versionMax else {
      throw BundleError(
        place: "manifest.family_version",
        reason: "sections of family \"\(family)\" have version \(familyVersion), this build reads up to \(versionMax): update millrace, or import the model again with this build")
    }
  }
}
