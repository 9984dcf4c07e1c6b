// Hot: no allocation, String, existential or Foundation in `code`.
internal import CKernels
internal import Foundation

/// Finds the code of a category by its name: a view of the open-addressed table that a `CategoryNames` owns.
struct CategoryLookup {
  enum Kind: UInt8 { case nothing, text, integer, fraction }

  struct Entry {
    /// The hash of a text; the bits of a number.
    var key: UInt64 = 0
    /// A text's bytes.
    var start: UInt32 = 0
    var length: UInt32 = 0
    var code: Int32 = -1
    var kind = Kind.nothing
  }

  let table: UnsafePointer<Entry>
  let mask: Int
  let bytes: UnsafePointer<UInt8>
  let hasNumbers: Bool

  /// -1: no category has this name.
  func code(text: UnsafeRawBufferPointer) -> Int32 {
    let key = RowID.text(text)
    var place = Self.place(key, .text) & mask
    while table[place].kind != .nothing {
      let entry = table + place
      if entry.pointee.key == key, entry.pointee.kind == .text, Int(entry.pointee.length) == text.count {
        guard let base = text.baseAddress, text.count > 0 else { return entry.pointee.code }
        if memcmp(bytes + Int(entry.pointee.start), base, text.count) == 0 { return entry.pointee.code }
      }
      place = (place + 1) & mask
    }
    return -1
  }

  func code(integer: Int64) -> Int32 { code(UInt64(bitPattern: integer), .integer) }

  func code(number: Double) -> Int32 {
    if let integer = Int64(exactly: number) { return code(integer: integer) }
    return code(number.bitPattern, .fraction)
  }

  private func code(_ key: UInt64, _ kind: Kind) -> Int32 {
    var place = Self.place(key, kind) & mask
    while table[place].kind != .nothing {
      if table[place].key == key, table[place].kind == kind { return table[place].code }
      place = (place + 1) & mask
    }
    return -1
  }

  static func place(_ key: UInt64, _ kind: Kind) -> Int {
    Int(truncatingIfNeeded: kind == .text ? key : mr_mix64(key ^ 0x6E61_6D65))
  }
}

/// Makes the table of a `CategoryLookup`.
struct CategoryLookupBuilder {
  private(set) var table: [CategoryLookup.Entry]
  private(set) var bytes: [UInt8] = []
  private var count = 0

  init(_ names: Int) {
    var capacity = 4
    while capacity < names * 2 { capacity *= 2 }
    table = Array(repeating: .init(), count: capacity)
  }

  /// The code of an equal name when there is one.
  mutating func insert(_ name: CategoryName, code: Int) -> Int? {
    switch name {
    case .text(let text): insert(text, code)
    case .integer(let integer): insert(UInt64(bitPattern: integer), .integer, code)
    case .number(let number): insert(number, code)
    case .boolean(let boolean): insert(boolean ? 1 : 0, .integer, code)
    }
  }

  /// What else a number is called: as text, as Swift, JSON and Python write it, and a fraction in single precision. Names come first, and of
  /// several names with one other form the first has it.
  mutating func insertOtherForms(of name: CategoryName, code: Int) {
    switch name {
    case .text: return
    case .integer(let integer): _ = insert("\(integer)", code)
    case .number(let number):
      _ = insert("\(number)", code)
      if let integer = Int64(exactly: number) {
        _ = insert("\(integer)", code)
      } else if Float(number).isFinite {
        _ = insert(Double(Float(number)), code)
      }
    case .boolean(let boolean):
      _ = insert(boolean ? "true" : "false", code)
      _ = insert(boolean ? "True" : "False", code)
    }
  }

  private mutating func insert(_ number: Double, _ code: Int) -> Int? {
    if let integer = Int64(exactly: number) { return insert(UInt64(bitPattern: integer), .integer, code) }
    return insert(number.bitPattern, .fraction, code)
  }

  private mutating func insert(_ key: UInt64, _ kind: CategoryLookup.Kind, _ code: Int) -> Int? {
    var place = CategoryLookup.place(key, kind) & (table.count - 1)
    while table[place].kind != .nothing {
      if table[place].key == key, table[place].kind == kind { return Int(table[place].code) }
      place = (place + 1) & (table.count - 1)
    }
    put(.init(key: key, code: Int32(truncatingIfNeeded: code), kind: kind), place)
    return nil
  }

  private mutating func insert(_ text: String, _ code: Int) -> Int? {
    let utf8 = Array(text.utf8)
    let key = RowID.text(text)
    var place = CategoryLookup.place(key, .text) & (table.count - 1)
    while table[place].kind != .nothing {
      let entry = table[place]
      if entry.key == key, entry.kind == .text, bytes[Int(entry.start)..<Int(entry.start) + Int(entry.length)].elementsEqual(utf8) {
        return Int(entry.code)
      }
      place = (place + 1) & (table.count - 1)
    }
    // Bounded by `countMax` names of `nameBytesMax`, far below 32 bits.
    let start = UInt32(truncatingIfNeeded: bytes.count)
    bytes += utf8
    put(.init(key: key, start: start, length: UInt32(truncatingIfNeeded: utf8.count), code: Int32(truncatingIfNeeded: code), kind: .text), place)
    return nil
  }

  private mutating func put(_ entry: CategoryLookup.Entry, _ place: Int) {
    table[place] = entry
    count += 1
    guard count * 2 > table.count else { return }
    let old = table
    table = Array(repeating: .init(), count: old.count * 2)
    for entry in old where entry.kind != .nothing {
      var place = CategoryLookup.place(entry.key, entry.kind) & (table.count - 1)
      while table[place].kind != .nothing { place = (place + 1) & (table.count - 1) }
      table[place] = entry
    }
  }
}
