/// An input of the model, by its name in events.
public struct Feature: Sendable, Equatable {
  public enum Kind: UInt8, Sendable, Equatable {
    /// Each value has a row of its own. Values are texts, whole numbers or booleans.
    case categorical = 1
    /// One row, whose value is the transformed number; or, with buckets, one row for each bucket.
    case numeric = 2
    /// A fixed number of numbers, all or none of them given: one row for each place, whose value is the transformed number there.
    case vector = 3
    /// Elements of the dense row, as a model from a file takes them; see `Feature.tensor`.
    case tensor = 4
  }

  public var name: String
  public var kind: Kind
  /// Categorical only: ASCII capitals become small letters.
  public var lowercase: Bool
  /// Categorical: how many values one event may carry. Vector: its size.
  public var valuesMax: Int
  /// Numeric, and each number of a vector (without buckets).
  public var transform: NumericTransform
  /// Tensors: where in the dense row. Numeric, for models from files: the transformed number stands there, and the feature has no row.
  public var tensor: TensorPlace?

  public init(
    name: String, kind: Kind, lowercase: Bool = false, valuesMax: Int = 1, transform: NumericTransform = NumericTransform(),
    tensor: TensorPlace? = nil
  ) {
    self.name = name
    self.kind = kind
    self.lowercase = lowercase
    self.valuesMax = valuesMax
    self.transform = transform
    self.tensor = tensor
  }

  public static func categorical(_ name: String, lowercase: Bool = false, valuesMax: Int = 1) -> Feature {
    Feature(name: name, kind: .categorical, lowercase: lowercase, valuesMax: valuesMax)
  }

  public static func numeric(_ name: String, _ transform: NumericTransform = NumericTransform()) -> Feature {
    Feature(name: name, kind: .numeric, transform: transform)
  }

  /// `size` numbers that come together.
  public static func vector(_ name: String, size: Int, _ transform: NumericTransform = NumericTransform()) -> Feature {
    Feature(name: name, kind: .vector, valuesMax: size, transform: transform)
  }

  /// Elements of the dense row.
  public static func tensor(_ name: String, _ place: TensorPlace) -> Feature { Feature(name: name, kind: .tensor, tensor: place) }

  /// Whether the feature can be a part of a cross: it has one row for each value.
  public var isCrossable: Bool { kind == .categorical || !transform.buckets.isEmpty }
}

/// Several features taken together: one row for each combination of values. Absent when any part is absent.
public struct Cross: Sendable, Equatable {
  /// Two or more, each categorical or bucketized.
  public var features: [String]

  public init(_ features: [String]) { self.features = features }
}
