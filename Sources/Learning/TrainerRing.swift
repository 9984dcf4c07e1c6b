/// A first-in first-out queue of plain values that never moves memory while it is large enough, indexed
/// from its oldest element. Owned by one thread.
struct TrainerRing<Element: BitwiseCopyable> {
  private var storage: UnsafeMutablePointer<Element>
  private var mask: Int
  private var head = 0
  private(set) var count = 0

  init(capacity: Int = 64) {
    var slots = 16
    while slots < capacity { slots *= 2 }
    storage = .allocate(capacity: slots)
    mask = slots - 1
  }

  func deallocate() { storage.deallocate() }

  subscript(_ index: Int) -> Element {
    @inline(__always) get {
      assert(index >= 0 && index < count)
      return storage[(head &+ index) & mask]
    }
    @inline(__always) nonmutating set {
      assert(index >= 0 && index < count)
      storage[(head &+ index) & mask] = newValue
    }
  }

  mutating func append(_ element: Element) {
    if count > mask { grow() }
    storage[(head &+ count) & mask] = element
    count &+= 1
  }

  mutating func removeFirst() {
    precondition(count > 0, "an empty ring has no first element")
    head = (head &+ 1) & mask
    count &-= 1
  }

  mutating func removeAll() {
    head = 0
    count = 0
  }

  private mutating func grow() {
    let slots = (mask + 1) * 2
    let grown = UnsafeMutablePointer<Element>.allocate(capacity: slots)
    for index in 0..<count { grown[index] = storage[(head + index) & mask] }
    storage.deallocate()
    storage = grown
    mask = slots - 1
    head = 0
  }
}
