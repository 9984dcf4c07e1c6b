import CMessages
import Events
import Foundation
import Logging
import Operations
import Telemetry
import Testing

@testable import Endpoint

/// Answers of the control calls are written by name and number in one place: they must be those of the proto file.
@Suite struct ControlMessageTests {
  private func control(_ models: [ServedModel]) -> ControlService {
    ControlService(catalog: ModelCatalog(models), version: "1.2.3", isReady: { true }, levels: LogLevelSwitch(.info))
  }

  /// Every field of `message`, at any depth, has the name, number and type that the generated code knows.
  private func check(_ message: ControlMessage, _ descriptor: UnsafePointer<ProtobufCMessageDescriptor>) {
    let known = UnsafeBufferPointer(start: descriptor.pointee.fields, count: Int(descriptor.pointee.n_fields))
    let name = String(cString: descriptor.pointee.name)
    for field in message.fields {
      guard let match = known.first(where: { $0.id == field.number }) else {
        Issue.record("\(name) has no field \(field.number) (\(field.name))")
        continue
      }
      #expect(String(cString: match.name) == field.name, "\(name).\(field.number)")
      let isRepeated = match.label == PROTOBUF_C_LABEL_REPEATED
      switch field.value {
      case .text: #expect(match.type == PROTOBUF_C_TYPE_STRING && !isRepeated, "\(name).\(field.name)")
      case .texts: #expect(match.type == PROTOBUF_C_TYPE_STRING && isRepeated, "\(name).\(field.name)")
      case .integer:
        #expect(
          [PROTOBUF_C_TYPE_INT64, PROTOBUF_C_TYPE_UINT64, PROTOBUF_C_TYPE_INT32, PROTOBUF_C_TYPE_UINT32].contains(match.type) && !isRepeated,
          "\(name).\(field.name)")
      case .integers: #expect(match.type == PROTOBUF_C_TYPE_INT64 && isRepeated, "\(name).\(field.name)")
      case .flag: #expect(match.type == PROTOBUF_C_TYPE_BOOL && !isRepeated, "\(name).\(field.name)")
      case .choice(let number, let text):
        #expect(match.type == PROTOBUF_C_TYPE_ENUM && !isRepeated, "\(name).\(field.name)")
        let enumeration = match.descriptor.assumingMemoryBound(to: ProtobufCEnumDescriptor.self).pointee
        let values = UnsafeBufferPointer(start: enumeration.values, count: Int(enumeration.n_values))
        #expect(values.contains { $0.value == number && String(cString: $0.name) == text }, "\(name).\(field.name): \(text)")
      case .message(let inner):
        #expect(match.type == PROTOBUF_C_TYPE_MESSAGE && !isRepeated, "\(name).\(field.name)")
        check(inner, match.descriptor.assumingMemoryBound(to: ProtobufCMessageDescriptor.self))
      case .messages(let inner):
        #expect(match.type == PROTOBUF_C_TYPE_MESSAGE && isRepeated, "\(name).\(field.name)")
        for message in inner { check(message, match.descriptor.assumingMemoryBound(to: ProtobufCMessageDescriptor.self)) }
      case .map(let entries):
        #expect(match.type == PROTOBUF_C_TYPE_MESSAGE && isRepeated, "\(name).\(field.name)")
        for entry in entries {
          check(
            ControlMessage([(1, "key", .text(entry.key)), (2, "value", entry.value)]),
            match.descriptor.assumingMemoryBound(to: ProtobufCMessageDescriptor.self))
        }
      }
    }
  }

  /// protobuf-c reads it, unknown fields and all.
  private func unpacks(_ bytes: [UInt8], _ descriptor: UnsafePointer<ProtobufCMessageDescriptor>) -> Bool {
    guard let message = protobuf_c_message_unpack(descriptor, nil, bytes.count, bytes) else { return false }
    defer { protobuf_c_message_free_unpacked(message, nil) }
    return message.pointee.n_unknown_fields == 0
  }

  @Test func fieldsAreThoseOfTheProtoFile() throws {
    let control = try control([ServedModels.model(), ServedModels.named("other")])
    withUnsafePointer(to: inference__server_metadata_response__descriptor) {
      let message = control.serverMetadata(allowsChanges: true)
      check(message, $0)
      #expect(unpacks(message.protobuf, $0))
    }
    try withUnsafePointer(to: inference__model_metadata_response__descriptor) {
      let message = try control.modelMetadata(name: "clicks", version: "")
      check(message, $0)
      #expect(unpacks(message.protobuf, $0))
    }
    try withUnsafePointer(to: inference__model_config__descriptor) {
      let message = try control.modelConfiguration(name: "clicks", version: "1")
      check(message, $0)
      #expect(unpacks(message.protobuf, $0))
    }
    try withUnsafePointer(to: inference__model_statistics_response__descriptor) {
      let message = try control.statistics(name: "", version: "")
      check(message, $0)
      #expect(unpacks(message.protobuf, $0))
    }
    try withUnsafePointer(to: inference__repository_index_response__descriptor) {
      let message = ControlMessage([(1, "models", .messages(try control.repositoryIndex(repository: "", readyOnly: false)))])
      check(message, $0)
      #expect(unpacks(message.protobuf, $0))
    }
    withUnsafePointer(to: inference__trace_setting_response__descriptor) { #expect(unpacks(TraceSettings.protobuf, $0)) }
    withUnsafePointer(to: inference__log_settings_response__descriptor) { #expect(unpacks(control.logSettings.protobuf, $0)) }
  }

  @Test func configurationSaysRowsApartFromShapes() throws {
    let control = try control([ServedModels.model()])
    let bytes = try control.modelConfiguration(name: "clicks", version: "").protobuf
    let config = try #require(inference__model_config__unpack(nil, bytes.count, bytes))
    defer { inference__model_config__free_unpacked(config, nil) }
    #expect(config.pointee.max_batch_size > 1)
    #expect(String(cString: config.pointee.backend) == "millrace")
    #expect(config.pointee.n_input == 3 && config.pointee.n_output == 1)
    let inputs = try (0..<3).map { try #require(config.pointee.input[$0]).pointee }
    #expect(inputs.map { String(cString: $0.name) } == ["city", "price", "tags"])
    #expect(inputs.map(\.data_type) == [INFERENCE__DATA_TYPE__TYPE_STRING, INFERENCE__DATA_TYPE__TYPE_FP32, INFERENCE__DATA_TYPE__TYPE_STRING])
    #expect(inputs.map { Array(UnsafeBufferPointer(start: $0.dims, count: $0.n_dims)) } == [[1], [1], [-1]])
    #expect(try #require(config.pointee.model_transaction_policy).pointee.decoupled == 0)
    #expect(try #require(config.pointee.version_policy).pointee.policy_choice_case == INFERENCE__MODEL_VERSION_POLICY__POLICY_CHOICE_SPECIFIC)
  }

  @Test func jsonHasEveryFieldAndIsRead() throws {
    let control = try control([ServedModels.model()])
    let output = OutputBuffer()
    try control.statistics(name: "clicks", version: "").writeJSON(to: output)
    let read = try JSONSerialization.jsonObject(with: Data(output.bytes)) as? [String: Any]
    let model = try #require((read?["model_stats"] as? [[String: Any]])?.first)
    #expect(model["name"] as? String == "clicks" && model["inference_count"] as? Int == 0)
    #expect(((model["inference_stats"] as? [String: Any])?["success"] as? [String: Any])?["ns"] as? Int == 0)
    #expect((model["batch_stats"] as? [Any])?.isEmpty == true)
  }
}
