/// Which tool's file this is, by its content.
public enum ModelFormat: String, Sendable, CaseIterable {
  case lightgbm, xgboost, onnx, safetensors

  /// Nil when it is none of them. `bytes`: the whole file.
  public static func detect(_ bytes: UnsafeRawBufferPointer) -> ModelFormat? {
    if LightGBMModel.recognizes(bytes) { return .lightgbm }
    if isSafetensors(bytes) { return .safetensors }
    if XGBoostModel.recognizes(bytes) { return .xgboost }
    return isONNX(bytes) ? .onnx : nil
  }

  /// What a file that is none of them seems to be, and what to do with it.
  public static func advice(_ bytes: UnsafeRawBufferPointer) -> String {
    func begins(_ magic: [UInt8]) -> Bool { bytes.prefix(magic.count).elementsEqual(magic) }
    if begins([0x8E, 0x4D, 0x52, 0x42]) { return "this is a bundle already" }
    if begins([0x50, 0x4B, 0x03, 0x04]) { return "a zip file, as PyTorch (.pt) and Keras (.keras) write them: export the model to ONNX (torch.onnx.export, model.export(format=\"onnx\"))" }
    if begins([0x89, 0x48, 0x44, 0x46]) { return "an HDF5 file, as Keras writes them: export the model to ONNX (model.export(format=\"onnx\"))" }
    if begins([0x80]) { return "a Python pickle, as scikit-learn, joblib and older PyTorch write them: convert the model to ONNX (skl2onnx, torch.onnx.export)" }
    if begins(Array("binf".utf8)) || begins(Array("CONFIG-offset".utf8)) { return "an old binary model of XGBoost: load it in XGBoost and save it as JSON or UBJSON (save_model(\"model.ubj\"))" }
    if begins(Array("<?xml".utf8)) { return "XML (PMML?): convert the model to ONNX" }
    return "it is none of LightGBM text, XGBoost JSON or UBJSON, ONNX, safetensors"
  }

  /// Eight bytes of length, then JSON.
  private static func isSafetensors(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard bytes.count > 10 else { return false }
    let length = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
    return length >= 2 && length <= UInt64(bytes.count - 8) && bytes[8] == UInt8(ascii: "{") && bytes[9] != UInt8(ascii: "{")
  }

  /// Fields of a ModelProto, of which the graph must be one: https://onnx.ai/onnx/repo-docs/IR.html
  private static func isONNX(_ bytes: UnsafeRawBufferPointer) -> Bool {
    var at = 0
    func varint() -> UInt64? {
      var value: UInt64 = 0
      for shift in 0..<10 {
        guard at < bytes.count else { return nil }
        let byte = bytes[at]
        at += 1
        value |= UInt64(byte & 0x7F) << UInt64(shift * 7)
        if byte < 0x80 { return value }
      }
      return nil
    }
    var hasGraph = false
    var fields = 0
    while at < bytes.count, fields < 4_096 {
      guard let tag = varint(), (1...25).contains(tag >> 3) else { return false }
      switch tag & 7 {
      case 0: guard varint() != nil else { return false }
      case 2:
        guard let length = varint(), length <= UInt64(bytes.count - at) else { return false }
        if tag >> 3 == 7 { hasGraph = true }
        at += Int(length)
      default: return false
      }
      fields += 1
    }
    return hasGraph
  }
}
