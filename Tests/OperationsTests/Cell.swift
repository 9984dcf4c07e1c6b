import Synchronization

/// A value that a test and the code under test share.
final class Cell<Value: Sendable>: Sendable {
  private let storage: Mutex<Value>

  init(_ value: Value) { storage = Mutex(value) }

  var value: Value {
    get { storage.withLock { $0 } }
    set { storage.withLock { $0 = newValue } }
  }

  func update<Result: Sendable>(_ body: @Sendable (inout Value) -> Result) -> Result {
    storage.withLock { value in body(&value) }
  }
}
