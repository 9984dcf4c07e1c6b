internal import Events

extension FlightsData {
  /// 2013-04-01, UTC.
  static let aprilSeconds = CalendarTime.days(year: 2013, month: 4, day: 1) * CalendarTime.secondsPerDay

  /// The flights as questions, asked an hour before scheduled departure, and their landings.
  public func stream() -> ReplayStream {
    let flights = flights
    let from = Self.aprilSeconds * 1000
    let last = (flights.last?.departure ?? Self.aprilSeconds) * 1000
    return ReplayStream(
      name: "flights", source: "\(flights.count) flights of 2013 from New York, with the weather of their hour",
      asks: flights.map { ($0.departure - 3600) * 1000 }, lands: flights.map { $0.lands * 1000 },
      labels: flights.map { $0.isLate ? 1 : 0 }, times: flights.map { $0.departure * 1000 }, window: from..<max(from, last) + 1,
      // The last evening's departures are on the next day by UTC.
      windowTo: "2013-12-31", frozenAtMilliseconds: from, write: { [self] index, writer in write(index, writer) })
  }

  /// The 19 inputs of flight `index`; the combined ones are made here, by the producer, as the reference makes them.
  private func write(_ index: Int, _ writer: EventWriter) {
    let flight = flights[index]
    withUnsafeTemporaryAllocation(byteCount: 64, alignment: 8) { scratch in
      var text = ShortText(scratch)
      func put(_ name: StaticString, _ build: (inout ShortText) -> Void) {
        text.removeAll()
        build(&text)
        writer.text(UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount), text.bytes)
      }
      func number(_ name: StaticString, _ value: Double) {
        // Missing is absent.
        guard value.isFinite else { return }
        writer.number(UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount), value)
      }
      let month = Int(flight.month)
      let day = Int(flight.day)
      let hour = Int(flight.hour)
      let origin = texts[Int(flight.origin)]
      put("carrier") { $0.append(texts[Int(flight.carrier)]) }
      put("origin") { $0.append(origin) }
      put("dest") { $0.append(texts[Int(flight.dest)]) }
      put("tailnum") { $0.append(texts[Int(flight.tailnum)]) }
      put("flight") {
        $0.append(texts[Int(flight.carrier)])
        $0.append(Int(flight.number))
      }
      put("hour") { $0.append(hour) }
      put("month") { $0.append(month) }
      put("route") {
        $0.append(origin)
        $0.append(texts[Int(flight.dest)])
      }
      put("origin_hour") {
        $0.append(origin)
        $0.append(hour)
      }
      put("weekday") { $0.append(CalendarTime.weekday(seconds: flight.departure)) }
      put("date") { $0.append(month, day) }
      put("date_origin") {
        $0.append(month, day)
        $0.append(UInt8(ascii: "_"))
        $0.append(origin)
      }
      put("date_hour") {
        $0.append(month, day)
        $0.append(UInt8(ascii: "_"))
        $0.append(hour)
      }
      if flight.weather >= 0 {
        let weather = weather[Int(flight.weather)]
        number("temp", weather.temp)
        number("humid", weather.humid)
        number("wind_speed", weather.windSpeed)
        number("precip", weather.precip)
        number("visib", weather.visib)
      }
      number("distance", Double(flight.distance))
    }
  }
}

/// A text that is put together in borrowed memory; what does not fit is cut off.
private struct ShortText {
  private let memory: UnsafeMutableRawBufferPointer
  private var count = 0

  init(_ memory: UnsafeMutableRawBufferPointer) { self.memory = memory }

  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: memory[..<count]) }

  mutating func removeAll() { count = 0 }

  mutating func append(_ byte: UInt8) {
    guard count < memory.count else { return }
    memory[count] = byte
    count += 1
  }

  mutating func append(_ text: [UInt8]) {
    for byte in text { append(byte) }
  }

  mutating func append(_ number: Int) {
    if number >= 10 { append(number / 10) }  // recursion: one level for each digit
    append(UInt8(truncatingIfNeeded: number % 10) + 48)
  }

  /// Month and day.
  mutating func append(_ month: Int, _ day: Int) {
    append(month)
    append(UInt8(ascii: "_"))
    append(day)
  }
}
