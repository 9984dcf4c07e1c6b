/// One output of a model: [rows] + `shape`.
public struct OutputTensor: Sendable, Equatable {
  public var name: String
  public var element: TensorElement
  public var shape: [Int]
  /// The texts that elements of kind `text` are indices into.
  public var texts: [String]

  public init(name: String, element: TensorElement = .float32, shape: [Int] = [1], texts: [String] = []) {
    self.name = name
    self.element = element
    self.shape = shape
    self.texts = texts
  }

  public var count: Int { shape.reduce(1, *) }
}
