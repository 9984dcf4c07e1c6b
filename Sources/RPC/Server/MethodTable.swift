// Hot: every call looks its method up by its path.
internal import CNGHTTP2

/// The methods of one loop by path: a hash table of bytes, made at start.
final class MethodTable {
  struct Entry {
    /// `/service/method`, owned by the table.
    let path: UnsafeRawBufferPointer
    let serviceByteCount: Int
    let kind: MethodKind
    let handler: MethodHandler
    let name: String
  }

  struct Route {
    let isUnary: Bool
    let handler: Unmanaged<MethodHandler>
  }

  private(set) var entries: [Entry] = []
  private var routes: UnsafeMutablePointer<Route>
  private let table: UnsafeMutablePointer<Int32>
  private let mask: Int

  init(_ services: [RPCService], loop: ServerLoop) {
    var size = 16
    let count = services.reduce(0) { $0 + $1.methods.count }
    while size < count * 4 { size *= 2 }
    table = .allocate(capacity: size)
    table.initialize(repeating: -1, count: size)
    mask = size - 1
    routes = .allocate(capacity: max(count, 1))
    for service in services {
      for method in service.methods {
        let name = "\(service.name)/\(method.name)"
        let path = Array("/\(name)".utf8)
        let owned = UnsafeMutableRawBufferPointer.allocate(byteCount: path.count, alignment: 1)
        owned.copyBytes(from: path)
        let entry = Entry(
          path: UnsafeRawBufferPointer(owned), serviceByteCount: service.name.utf8.count, kind: method.kind,
          handler: method.makeHandler(loop), name: name)
        precondition(find(entry.path) < 0, "two methods are called \(name)")
        var place = Self.hash(entry.path) & mask
        while table[place] >= 0 { place = (place + 1) & mask }
        table[place] = Int32(entries.count)
        (routes + entries.count).initialize(
          to: Route(isUnary: method.kind == .unary, handler: Unmanaged.passUnretained(entry.handler)))
        entries.append(entry)
      }
    }
  }

  deinit {
    for entry in entries { entry.path.deallocate() }
    table.deallocate()
    routes.deallocate()
  }

  /// How to call the method with an index that `find` gave. The handler lives as long as the table.
  @inline(__always)
  func route(_ index: Int32) -> Route { routes[Int(index)] }

  /// The index of the method with a path; -1 when there is none.
  func find(_ path: UnsafeRawBufferPointer) -> Int32 {
    guard let wanted = path.baseAddress else { return -1 }
    var place = Self.hash(path) & mask
    while table[place] >= 0 {
      let known = entries[Int(table[place])].path
      if known.count == path.count, let base = known.baseAddress, memcmp(base, wanted, path.count) == 0 { return table[place] }
      place = (place &+ 1) & mask
    }
    return -1
  }

  /// Whether some method's service has this name.
  func hasService(_ name: UnsafeRawBufferPointer) -> Bool {
    entries.contains { $0.serviceByteCount == name.count && $0.path[1..<(1 + name.count)].elementsEqual(name) }
  }

  private static func hash(_ bytes: UnsafeRawBufferPointer) -> Int {
    // FNV-1a: the table is small and its keys are ours, so nobody gains by colliding with them.
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    return Int(truncatingIfNeeded: hash >> 32 ^ hash)
  }
}
