/// What a set of proto files declares: answers the questions of reflection. Made once, then only read.
struct ProtoFileIndex: Sendable {
  private struct File {
    var descriptor: [UInt8]
    var imports: [String]
  }

  private var files: [String: File] = [:]
  /// From full names to the file that declares them.
  private var symbols: [String: String] = [:]
  private var messages: Set<String> = []

  /// Each a serialized `google.protobuf.FileDescriptorProto`. One that cannot be read, or whose name came before, is left out.
  init(descriptors: [[UInt8]]) {
    for descriptor in descriptors { try? add(descriptor) }
  }

  func hasFile(_ name: String) -> Bool { files[name] != nil }
  func file(declaring symbol: String) -> String? { symbols[symbol] }
  func isMessage(_ name: String) -> Bool { messages.contains(name) }

  /// The file's descriptor and those of what it imports, directly or not, each once.
  func descriptors(of name: String) -> [[UInt8]] {
    var names = [name]
    var result: [[UInt8]] = []
    var position = 0
    while position < names.count {
      if let file = files[names[position]] {
        result.append(file.descriptor)
        for name in file.imports where !names.contains(name) { names.append(name) }
      }
      position += 1
    }
    return result
  }

  // MARK: Reading descriptors. Field numbers are those of google/protobuf/descriptor.proto.

  private mutating func add(_ descriptor: [UInt8]) throws(RPCStatus) {
    var name = ""
    var package = ""
    var imports: [String] = []
    var reader = ProtobufReader(descriptor, of: "FileDescriptorProto")
    while let (number, value) = try reader.next() {
      switch number {
      case 1: name = try reader.text(value, "name")
      case 2: package = try reader.text(value, "package")
      case 3: imports.append(try reader.text(value, "dependency"))
      default: break
      }
    }
    guard !name.isEmpty, files[name] == nil else { return }
    files[name] = File(descriptor: descriptor, imports: imports)
    // The package may stand behind what it holds.
    reader = ProtobufReader(descriptor, of: "FileDescriptorProto")
    while let (number, value) = try reader.next() {
      guard case .slice(let bytes) = value else { continue }
      switch number {
      case 4: try addMessage(bytes, within: package, file: name, depth: 0)
      case 5: try addEnumeration(bytes, within: package, file: name)
      case 6: try addService(bytes, within: package, file: name)
      default: break
      }
    }
  }

  private static let depthMax = 32

  private mutating func addMessage(_ bytes: ArraySlice<UInt8>, within scope: String, file: String, depth: Int) throws(RPCStatus) {
    guard depth < Self.depthMax else { return }
    let name = join(scope, try Self.name(bytes))
    symbols[name] = file
    messages.insert(name)
    var reader = ProtobufReader(bytes, of: "DescriptorProto")
    while let (number, value) = try reader.next() {
      guard case .slice(let part) = value else { continue }
      switch number {
      case 2, 8: symbols[join(name, try Self.name(part))] = file  // Fields and oneofs.
      case 3: try addMessage(part, within: name, file: file, depth: depth + 1)
      case 4: try addEnumeration(part, within: name, file: file)
      default: break
      }
    }
  }

  private mutating func addEnumeration(_ bytes: ArraySlice<UInt8>, within scope: String, file: String) throws(RPCStatus) {
    symbols[join(scope, try Self.name(bytes))] = file
    // Values are siblings of their enumeration, as in C++.
    for value in try Self.parts(bytes, 2) { symbols[join(scope, try Self.name(value))] = file }
  }

  private mutating func addService(_ bytes: ArraySlice<UInt8>, within scope: String, file: String) throws(RPCStatus) {
    let name = join(scope, try Self.name(bytes))
    symbols[name] = file
    for method in try Self.parts(bytes, 2) { symbols[join(name, try Self.name(method))] = file }
  }

  private func join(_ scope: String, _ name: String) -> String { scope.isEmpty ? name : "\(scope).\(name)" }

  /// All descriptors have their name in field 1.
  private static func name(_ bytes: ArraySlice<UInt8>) throws(RPCStatus) -> String {
    try parts(bytes, 1).first.flatMap { String(validating: $0, as: UTF8.self) } ?? ""
  }

  private static func parts(_ bytes: ArraySlice<UInt8>, _ wanted: UInt32) throws(RPCStatus) -> [ArraySlice<UInt8>] {
    var reader = ProtobufReader(bytes, of: "descriptor")
    var parts: [ArraySlice<UInt8>] = []
    while let (number, value) = try reader.next() {
      if number == wanted, case .slice(let part) = value { parts.append(part) }
    }
    return parts
  }
}
