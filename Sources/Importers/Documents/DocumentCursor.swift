/// Reads a tree of objects, arrays and values from front to back, straight into the caller's lists: no value is made that nobody asked for.
///
/// The caller's calls follow the shape that it expects, so its own code bounds the nesting; `skip` passes over anything without recursion.
/// Every function consumes one value or throws; after a throw the cursor is not used again.
protocol DocumentCursor {
  /// Where the cursor stands, for messages; `object` and `array` keep it.
  var path: DocumentPath { get }
  /// Bytes before the cursor.
  var offset: Int { get }

  /// What comes next, without consuming it.
  mutating func kind() throws(ImportError) -> DocumentKind
  /// Calls for each member; `member` consumes its value.
  mutating func object(_ member: (inout Self, String) throws(ImportError) -> Void) throws(ImportError)
  /// Calls for each element; `element` consumes it.
  mutating func array(_ element: (inout Self, Int) throws(ImportError) -> Void) throws(ImportError)
  mutating func text() throws(ImportError) -> String
  /// An integer; a boolean counts as 0 or 1.
  mutating func integer() throws(ImportError) -> Int
  /// A number of any form, rounded once to float.
  mutating func float() throws(ImportError) -> Float
  /// An array of numbers replaces what `list` held.
  mutating func floats(into list: inout [Float]) throws(ImportError)
  /// An array of integers that fit 32 bits replaces what `list` held.
  mutating func integers(into list: inout [Int32]) throws(ImportError)
  /// Passes over one value of any kind.
  mutating func skip() throws(ImportError)
  /// Throws unless nothing but blanks follows.
  mutating func finish() throws(ImportError)
}

enum DocumentKind: Equatable { case object, array, text, number, boolean, null }

extension DocumentCursor {
  func problem(_ reason: String) -> ImportError { ImportError(place: "\(path) (byte \(offset))", reason: reason) }

  /// A member that stands at most once.
  func claim(_ seen: inout Bool, _ key: String) throws(ImportError) {
    guard !seen else { throw problem("a second \"\(key)\"") }
    seen = true
  }

  mutating func textOrNil() throws(ImportError) -> String? {
    if try kind() == .text { return try text() }
    try skip()
    return nil
  }

  mutating func texts() throws(ImportError) -> [String] {
    var all: [String] = []
    try array { (cursor, _) throws(ImportError) in all.append(try cursor.text()) }
    return all
  }
}

/// Names and indices from a document's root to a value.
struct DocumentPath: CustomStringConvertible {
  enum Step {
    case key(String)
    case index(Int)
  }

  var steps: [Step] = []

  var description: String {
    if steps.isEmpty { return "document" }
    var text = ""
    for step in steps {
      switch step {
      case .key(let key): text += (text.isEmpty ? "" : ".") + String(key.prefix(60))
      case .index(let index): text += "[\(index)]"
      }
    }
    return text
  }
}

/// Nested deeper than any model is: such a document is refused.
let documentDepthMax = 64
