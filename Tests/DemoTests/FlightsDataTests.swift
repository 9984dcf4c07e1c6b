@testable import Demo
import Events
import Foundation
import Model
import Testing

private let flightsCSV = """
  year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour
  2013,4,1,529,533,-4,850,830,20,UA,1714,N24211,LGA,IAH,227,1416,5,33,2013-04-01T09:00:00Z
  2013,1,1,517,515,2,830,819,11,"UA",1545,N14228,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z
  2013,1,1,NA,1630,NA,NA,1815,NA,EV,4308,N18120,EWR,RDU,NA,416,16,30,2013-01-01T21:00:00Z
  2013,1,1,600,515,-70,700,819,16,B6,7,"N,1",JFK,MIA,NA,1089,5,15,2013-01-01T10:00:00Z
  """

private let weatherCSV = """
  origin,year,month,day,hour,temp,dewp,humid,wind_dir,wind_speed,wind_gust,precip,pressure,visib,time_hour
  EWR,2013,1,1,5,39.02,26.06,59.37,270,10.36,NA,0,1012,10,2013-01-01T10:00:00Z
  LGA,2013,4,1,5,NA,26.06,59.37,270,NA,NA,0.02,1012,10,2013-04-01T09:00:00Z
  """

private func directory(_ flights: String? = flightsCSV, _ weather: String? = weatherCSV) throws -> String {
  let directory = NSTemporaryDirectory() + "millrace-flights-\(UUID().uuidString)"
  try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
  try flights?.write(toFile: directory + "/flights.csv", atomically: true, encoding: .utf8)
  try weather?.write(toFile: directory + "/weather.csv", atomically: true, encoding: .utf8)
  return directory
}

private func event(_ stream: ReplayStream, _ index: Int) throws -> [String: Any] {
  let writer = EventWriter(form: .json)
  writer.begin(id: "\(index)", eventTimeMilliseconds: stream.asks[index])
  stream.write(index, writer)
  let object = try JSONSerialization.jsonObject(with: Data(writer.finish())) as? [String: Any]
  return try #require(object?["features"] as? [String: Any])
}

@Suite struct FlightsDataTests {
  @Test func flightsAreReadJoinedAndSorted() throws {
    let directory = try directory()
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let stream = try FlightsData(directory: directory).stream()
    // The cancelled one has no arrival delay; equal times go by flight number.
    #expect(stream.count == 3)
    #expect(stream.labels == [1, 0, 1])
    let departure = Int64(1_357_035_300)  // 2013-01-01T10:15:00Z
    #expect(stream.times == [departure * 1000, departure * 1000, 1_364_808_780_000])
    #expect(stream.asks[0] == (departure - 3600) * 1000)
    // -70 + 150 for the missing air time; 2 + 227; -4 + 227.
    #expect(zip(stream.lands, stream.times).map { ($0 - $1) / 60_000 } == [80, 229, 223])
    #expect(stream.frozenAtMilliseconds == 1_364_774_400_000)
    #expect(stream.windowTo == "2013-12-31")
    #expect(stream.window.contains(stream.times[2]) && !stream.window.contains(stream.times[1]))

    let first = try event(stream, 0)
    #expect(first["tailnum"] as? String == "N,1")
    #expect(first["flight"] as? String == "B67")
    #expect(first["temp"] == nil)
    #expect(first.count == 14)
    let second = try event(stream, 1)
    #expect(second.count == 19)
    #expect(second["carrier"] as? String == "UA")
    #expect(second["route"] as? String == "EWRIAH")
    #expect(second["origin_hour"] as? String == "EWR5")
    #expect(second["weekday"] as? String == "1")  // a Tuesday
    #expect(second["date"] as? String == "1_1")
    #expect(second["date_origin"] as? String == "1_1_EWR")
    #expect(second["date_hour"] as? String == "1_1_5")
    #expect(second["temp"] as? Double == 39.02)
    #expect(second["distance"] as? Double == 1400)
    let third = try event(stream, 2)
    #expect(third["temp"] == nil)
    #expect(third["wind_speed"] == nil)
    #expect(third["precip"] as? Double == 0.02)
  }

  @Test func theShortestWayIsTenMinutes() throws {
    let directory = try directory(flightsCSV.replacingOccurrences(of: ",-70,", with: ",-170,"))
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let stream = try FlightsData(directory: directory).stream()
    #expect((stream.lands[0] - stream.times[0]) / 60_000 == 10)
  }

  @Test func everyEventHasARowOfTheModel() throws {
    let directory = try directory()
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let stream = try FlightsData(directory: directory).stream()
    let decoder = EventDecoder(specification: try ModelSpecification.parse(yaml: FlightsModel.yaml, file: "flights.yaml"))
    let batch = RowBatch()
    for form in EventForm.allCases {
      let writer = EventWriter(form: form)
      for index in 0..<stream.count {
        writer.begin(id: "\(index)", eventTimeMilliseconds: stream.asks[index])
        stream.write(index, writer)
        let decoded = decoder.decode(writer.finish(), contentType: nil, into: batch)
        #expect(decoded.ok)
        #expect(decoded.unknownFeatures == 0)
      }
    }
    #expect(batch.rowCount == 9)
    #expect(batch.rowEnds[1] - batch.rowEnds[0] == 20)
    for entry in 0..<batch.start(ofRow: 3) {
      #expect(batch.ids[entry] == batch.ids[entry + batch.start(ofRow: 3)])
      #expect(batch.values[entry] == batch.values[entry + batch.start(ofRow: 6)])
    }
  }

  @Test func absentFilesAreToldFromDamagedOnes() throws {
    let absent = #expect(throws: FlightsDataError.self) { try FlightsData(directory: "/nonexistent") }
    #expect(absent?.isAbsent == true)
    for (from, to, part) in [
      ("arr_delay", "delay", "no column \"arr_delay\""), (",20,UA", ",late,UA", "flights.csv:2: arr_delay is \"late\""),
      ("2013-04-01T09:00:00Z", "yesterday", "flights.csv:2: time_hour"), (",1714,", ",-5,", "flight is \"-5\""),
    ] {
      let directory = try directory(flightsCSV.replacingOccurrences(of: from, with: to))
      defer { try? FileManager.default.removeItem(atPath: directory) }
      let error = #expect(throws: FlightsDataError.self) { try FlightsData(directory: directory) }
      #expect(error?.isAbsent == false)
      #expect(error?.description.contains(part) == true, "\(error?.description ?? "")")
    }
    let plan = try DemonstrationPlan.flights(directory: "/nonexistent")
    #expect(plan.notice?.contains("/nonexistent") == true)
    #expect(plan.stream.bestLogLoss != nil)
  }

  /// The README shows it, the demo runs it, and users copy it: one text.
  @Test func theModelFileIsTheModel() throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    let file = try String(contentsOf: root.appendingPathComponent("deploy/models/flights.yaml"), encoding: .utf8)
    #expect(file == FlightsModel.yaml)
    let model = try ModelSpecification.parse(yaml: file, file: "flights.yaml")
    #expect(model.features.count == 19)
    #expect(model.shards == 2)
    let generated = try ModelSpecification.parse(yaml: GeneratedStream.yaml, file: "generated.yaml")
    #expect(generated.name == "generated")
  }
}

@Suite struct CSVReaderTests {
  private func rows(_ text: String) -> [[String]] {
    var rows: [[String]] = []
    var text = text
    text.withUTF8 { bytes in
      let reader = CSVReader(UnsafeRawBufferPointer(bytes))
      while reader.next() { rows.append((0..<reader.fieldCount).map { reader.text($0) }) }
    }
    return rows
  }

  @Test func rowsAsTheStandardHasThem() {
    #expect(rows("a,b\n1,2\n") == [["a", "b"], ["1", "2"]])
    #expect(rows("a,b\r\n1,2") == [["a", "b"], ["1", "2"]])
    #expect(rows("\"x,y\",\"say \"\"hi\"\"\",\"two\nlines\"\n,,") == [["x,y", "say \"hi\"", "two\nlines"], ["", "", ""]])
    #expect(rows("\u{FEFF}a\n\n\nb") == [["a"], ["b"]])
    #expect(rows("") == [])
    #expect(rows("\"never closed") == [["never closed"]])
    #expect(rows("\"a\"b,c") == [["a", "c"]])
  }

  @Test func nothingRandomEndsTheProcess() {
    let seed = UInt64.random(in: 0 ... .max)
    var random = SplitMix(state: seed)
    for _ in 0..<2000 {
      let text = (0..<random.below(30)).map { _ in ["\"", ",", "\n", "\r", "a", "1", "-", "NA", "é"][random.below(9)] }.joined()
      var copy = text
      copy.withUTF8 { bytes in
        let reader = CSVReader(UnsafeRawBufferPointer(bytes))
        while reader.next() {
          for field in 0..<reader.fieldCount + 1 {
            _ = reader.integer(field)
            _ = reader.number(field)
            _ = reader.isMissing(field)
          }
        }
      }
    }
  }

  @Test func datesGoBothWays() {
    for days in stride(from: Int64(-200_000), to: 200_000, by: 37) {
      let date = CalendarTime.civil(days: days)
      #expect(CalendarTime.days(year: date.year, month: date.month, day: date.day) == days)
    }
    #expect(CalendarTime.days(year: 2000, month: 2, day: 29) == 11_016)
    #expect(CalendarTime.weekday(seconds: 0) == 3)  // a Thursday
    #expect(CalendarTime.weekday(seconds: -1) == 2)
    #expect(CalendarTime.minute(milliseconds: 1_364_808_780_000) == "2013-04-01 09:33")
  }
}

@Suite struct GeneratedStreamTests {
  @Test func theBestLossIsBetterThanAnyConstantAndNearWhatIsBehindIt() throws {
    let stream = GeneratedStream.make(count: 40_000, seed: 3)
    let best = try #require(stream.bestLogLoss)
    let inside = stream.times.indices.filter { stream.window.contains(stream.times[$0]) }
    let share = inside.reduce(0.0) { $0 + Double(stream.labels[$1]) } / Double(inside.count)
    let constant = -(share * log(share) + (1 - share) * log(1 - share))
    #expect(best < constant - 0.03)
    #expect(best > 0.3)
    let again = GeneratedStream.make(count: 40_000, seed: 3)
    #expect(again.labels == stream.labels)
    #expect(again.lands == stream.lands)
  }
}
