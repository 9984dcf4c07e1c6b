internal import Foundation

/// A proto file as reflection serves it. The generated files of `protos/generate.sh` hold one each.
package struct ProtoFile: Sendable {
  /// A serialized `google.protobuf.FileDescriptorProto`; empty when what was generated is broken, which a test notices.
  package let descriptor: [UInt8]

  /// `descriptorSet`: what protoc writes for one file (a `google.protobuf.FileDescriptorSet`), in base64.
  package init(descriptorSet: String) {
    var descriptor: [UInt8] = []
    if let set = Data(base64Encoded: descriptorSet) {
      var reader = ProtobufReader(Array(set), of: "FileDescriptorSet")
      if let field = try? reader.next(), field.number == 1, case .slice(let file) = field.value { descriptor = Array(file) }
    }
    self.descriptor = descriptor
  }
}
