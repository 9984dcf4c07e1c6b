@testable import RPC
import Testing

/// The small forms that both sides read and write.
@Suite struct WireFormsTests {
  private func encoded(_ text: String) -> [UInt8] { Array(text.utf8) }

  @Test func prefixes() {
    for length in [0, 1, 255, 256, 1 << 24, Int(UInt32.max)] {
      for flag: UInt8 in [0, 1, 7] {
        var bytes = [UInt8](repeating: 9, count: 5)
        bytes.withUnsafeMutableBytes { buffer in
          if let base = buffer.baseAddress { MessagePrefix(flag: flag, length: length).write(to: base) }
        }
        #expect(bytes.withUnsafeBytes { MessagePrefix($0) } == MessagePrefix(flag: flag, length: length))
      }
    }
    #expect([0, 0, 0, 1].withUnsafeBytes { MessagePrefix(UnsafeRawBufferPointer(rebasing: $0[0..<4])) } == nil)
    #expect([UInt8]([1, 0, 0, 1, 2]).withUnsafeBytes { MessagePrefix($0) } == MessagePrefix(flag: 1, length: 258))
  }

  @Test func percentEncoding() {
    #expect(PercentEncoding.encode("plain text, ~ and !") == "plain text, ~ and !")
    #expect(PercentEncoding.encode("100%\n\tä\u{7f}") == "100%25%0A%09%C3%A4%7F")
    for text in ["", "%", "%%41", "日本語", String(repeating: "é\0", count: 100)] {
      #expect(encoded(PercentEncoding.encode(text)).withUnsafeBytes { PercentEncoding.decode($0) } == text)
    }
    // What is no code stands for itself.
    for (wire, text) in [("%", "%"), ("%4", "%4"), ("%zz", "%zz"), ("%4a%4A", "JJ"), ("a%ff", "a\u{fffd}")] {
      #expect(encoded(wire).withUnsafeBytes { PercentEncoding.decode($0) } == text, "\(wire)")
    }
    // Cut off at a whole code.
    for limit in 0...12 {
      var queue = ByteQueue()
      defer { queue.deallocate() }
      encoded("aé%b").withUnsafeBytes { PercentEncoding.append($0, to: &queue, countMax: limit) }
      let cut = String(decoding: queue.bytes, as: UTF8.self)
      #expect(cut.utf8.count <= limit && "a%C3%A9%25b".hasPrefix(cut))
      #expect(!cut.hasSuffix("%") && !cut.dropLast().hasSuffix("%"), "\(cut)")
    }
  }

  @Test func base64() {
    for (bytes, text) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("fooba", "Zm9vYmE"), ("foobar", "Zm9vYmFy")] {
      #expect(encoded(bytes).withUnsafeBytes { Base64.encode($0) } == encoded(text))
      let padded = text + String(repeating: "=", count: (4 - text.utf8.count % 4) % 4)
      for form in [text, padded] { #expect(encoded(form).withUnsafeBytes { Base64.decode($0) } == encoded(bytes), "\(form)") }
    }
    for wrong in ["Z", "Zg=", "Zg===", "Z===", "Zm9v=", "Z g=", "Zm9vYg=x", "\u{e9}\u{e9}"] {
      #expect(encoded(wrong).withUnsafeBytes { Base64.decode($0) } == nil, "\(wrong)")
    }
    for count in 0..<100 {
      let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ count) }
      let text = bytes.withUnsafeBytes { Base64.encode($0) }
      #expect(text.withUnsafeBytes { Base64.decode($0) } == bytes)
    }
  }

  @Test func timeouts() {
    for (text, nanoseconds) in [
      ("1n", 1), ("99999999n", 99_999_999), ("5u", 5000), ("20m", 20_000_000), ("3S", 3_000_000_000), ("2M", 120_000_000_000),
      ("1H", 3_600_000_000_000), ("0m", 0), ("99999999H", Int64.max), ("00000001S", 1_000_000_000),
    ] as [(String, Int64)] {
      #expect(encoded(text).withUnsafeBytes { GRPCTimeout.nanoseconds($0) } == nanoseconds, "\(text)")
    }
    for wrong in ["", "1", "m", "123456789m", "1x", "-1m", "+1m", "1.5S", " 1m", "1m ", "1ms"] {
      #expect(encoded(wrong).withUnsafeBytes { GRPCTimeout.nanoseconds($0) } == nil, "\(wrong)")
    }
    // Written, a timeout is never shorter than it was, and by less than 1 part in a million longer once it needs a coarser unit.
    var value: Int64 = 1
    while value < Int64.max / 7 {
      for nanoseconds in [value, value + 1, value &* 3 / 2] {
        var bytes = [UInt8](repeating: 0, count: GRPCTimeout.byteCountMax)
        let count = bytes.withUnsafeMutableBytes { buffer in buffer.baseAddress.map { GRPCTimeout.write(nanoseconds: nanoseconds, to: $0) } ?? 0 }
        let read = bytes[0..<count].withUnsafeBytes { GRPCTimeout.nanoseconds($0) } ?? -1
        #expect(read >= nanoseconds && (read - nanoseconds <= nanoseconds / 10_000 || read > 99_999_999 * 60_000_000_000), "\(nanoseconds)")
      }
      value *= 7
    }
  }

  @Test func metadata() {
    var metadata = RPCMetadata()
    #expect(metadata.add("X-Name", "me") && metadata.add("x-name", "you") && metadata.add("x-key-bin", binary: [0, 255]))
    for wrong in ["", "grpc-status", "x name", "x-é", "x-bin", ":path"] {
      let added = metadata.add(wrong, "v")
      #expect(!added, "\(wrong)")
    }
    let controls = metadata.add("x", "a\nb")
    let notBinary = metadata.add("x", binary: [1])
    #expect(!controls && !notBinary && metadata.count == 3)
    #expect(metadata["x-name"] == "me" && metadata.values("x-name") == ["me", "you"] && metadata["none"] == nil)
    #expect(metadata.binary("x-key-bin") == [0, 255])
    var read = RPCMetadata()
    func wire(_ name: String, _ value: String) {
      encoded(name).withUnsafeBytes { name in encoded(value).withUnsafeBytes { read.addFromWire(name: name, value: $0) } }
    }
    wire("x-key-bin", "AP8,AQ==,!!")
    wire("x-text", "a,b")
    #expect(read.entries.map(\.value) == [[0, 255], [1], encoded("a,b")])
    #expect(metadata.entries.last.map { RPCMetadata.wireValue($0) } == encoded("AP8"))
  }

  @Test func codes() {
    for (status, code) in [(400, RPCCode.internal), (401, .unauthenticated), (403, .permissionDenied), (404, .unimplemented), (503, .unavailable), (418, .unknown)] {
      #expect(RPCCode(httpStatus: status) == code)
    }
    for (error, code) in [(7, RPCCode.unavailable), (8, .cancelled), (11, .resourceExhausted), (12, .permissionDenied), (1, .internal), (99, .internal)] as [(UInt32, RPCCode)] {
      #expect(RPCCode(http2Error: error) == code)
    }
    for code in RPCCode.allCases { #expect(encoded("\(code.rawValue)").withUnsafeBytes { RPCCode(wire: $0) } == code) }
    for wrong in ["", "17", "99", "-1", "1x", "001"] { #expect(encoded(wrong).withUnsafeBytes { RPCCode(wire: $0) } == nil, "\(wrong)") }
  }

  @Test func queuesHoldWhatWasPutInThem() {
    let seed = UInt64.random(in: 1...UInt64.max)
    var state = seed
    func random(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    var queue = ByteQueue()
    defer { queue.deallocate() }
    var model: [UInt8] = []
    for step in 0..<5000 {
      switch random(8) {
      case 0...3:
        let bytes = (0..<random(random(10) == 0 ? 3000 : 60)).map { _ in UInt8(random(256)) }
        bytes.withUnsafeBytes { queue.append($0) }
        model += bytes
      case 4: queue.append(UInt8(step & 255)); model.append(UInt8(step & 255))
      case 5...6:
        let count = random(queue.count + 1)
        queue.removeFirst(count)
        model.removeFirst(count)
      default:
        if random(20) == 0 {
          queue.removeAll(keeping: 1000)
          model = []
        }
      }
      #expect(queue.count == model.count, "seed \(seed), step \(step)")
      if step % 50 == 0 { #expect(Array(queue.bytes) == model, "seed \(seed), step \(step)") }
    }
  }

  @Test func theNextDeadlineIsFirst() {
    let seed = UInt64.random(in: 1...UInt64.max)
    var state = seed
    func random(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    let heap = DeadlineHeap()
    let table = CallTable()
    var entered: [UnsafeMutablePointer<CallSlot>] = []
    for step in 0..<5000 {
      if entered.isEmpty || random(5) < 3 {
        let slot = table.take()
        slot.pointee.deadlineNanoseconds = Int64(random(1000))
        heap.insert(slot)
        entered.append(slot)
      } else {
        let slot = random(3) == 0 ? entered.first { $0 == heap.first } : entered[random(entered.count)]
        guard let slot else { continue }
        heap.remove(slot)
        heap.remove(slot)
        entered.removeAll { $0 == slot }
        table.giveBack(slot)
      }
      #expect(heap.count == entered.count, "seed \(seed), step \(step)")
      #expect(heap.first?.pointee.deadlineNanoseconds == entered.map(\.pointee.deadlineNanoseconds).min(), "seed \(seed), step \(step)")
    }
  }

  @Test func handlesOfOtherTimesAreDead() {
    let table = CallTable()
    let slot = table.take()
    slot.pointee.state.insert(.live)
    let call = slot.pointee.call
    #expect(table.live(call) == slot && Call(token: call.token) == call)
    table.giveBack(slot)
    #expect(table.live(call) == nil)
    let again = table.take()
    again.pointee.state.insert(.live)
    #expect(again == slot && table.live(call) == nil && table.live(again.pointee.call) == again)
    #expect(table.live(Call(token: .max)) == nil)
    // Slots never move.
    let many = (0..<1000).map { _ in table.take() }
    #expect(Set(many).count == 1000 && !many.contains(slot) && table.live(again.pointee.call) == again)
  }
}
