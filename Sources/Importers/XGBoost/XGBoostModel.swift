import Families

/// Reads XGBoost's models in JSON and UBJSON (`Booster.save_model("x.json")`, `"x.ubj"`), of XGBoost 1.0 to 3.2.
///
/// XGBoost predicts in float: each output starts from the margin of `base_score`, trees are added in their order.
public enum XGBoostModel {
  /// Which trees take part when the file says which iteration early stopping found best.
  public enum Iterations: Sendable {
    /// What whoever saved the file would get from `predict`: the scikit-learn estimators (they leave the attribute `scikit_learn`) use the
    /// trees up to the best iteration, `Booster.predict` uses all.
    case asSaved
    case all
    case best
  }

  public static let featuresMax = 1 << 24
  public static let outputsMax = 1 << 16
  /// Words of categories of all splits together (256 MiB).
  public static let categoryWordsMax = 1 << 26

  /// The bytes of the file; they are not needed afterwards.
  /// - Throws: what is wrong, and where in the document.
  public static func read(_ bytes: UnsafeRawBufferPointer, iterations: Iterations = .asSaved) throws(ImportError) -> ImportedModel {
    switch form(of: bytes) {
    case .json:
      var reader = XGBoostReader<JSONCursor>()
      return try reader.read(JSONCursor(bytes), iterations)
    case .ubjson:
      var reader = XGBoostReader<UBJSONCursor>()
      return try reader.read(UBJSONCursor(bytes), iterations)
    case nil:
      throw ImportError(
        place: "byte 0",
        reason: "neither JSON nor UBJSON; a model in XGBoost's old binary form must be loaded in XGBoost and saved again as .json or .ubj")
    }
  }

  /// Whether a file begins as XGBoost's do.
  public static func recognizes(_ bytes: UnsafeRawBufferPointer) -> Bool { form(of: bytes) != nil }

  private enum Form { case json, ubjson }

  private static func form(of bytes: UnsafeRawBufferPointer) -> Form? {
    let start = bytes.prefix(256).drop { $0 == 0x20 || ($0 >= 9 && $0 <= 13) }
    guard start.first == UInt8(ascii: "{") else { return nil }
    // After the bracket JSON has a quote, UBJSON the type of a name's length or what the object counts.
    let after = start.dropFirst().drop { $0 == 0x20 || ($0 >= 9 && $0 <= 13) }.first
    switch after {
    case UInt8(ascii: "\""), UInt8(ascii: "}"): return .json
    case UInt8(ascii: "L"), UInt8(ascii: "l"), UInt8(ascii: "I"), UInt8(ascii: "i"), UInt8(ascii: "U"), UInt8(ascii: "#"), UInt8(ascii: "$"):
      return .ubjson
    default: return nil
    }
  }
}
