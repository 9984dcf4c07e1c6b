import Events
import Model

/// Records like those of the main job: 19 features, 13 categorical and 6 numeric, with values drawn from a seeded generator.
struct FlightLikeRecords {
  static let specification = ModelSpecification(
    name: "flights", version: 1, family: .linear(loss: .logistic),
    features: categorical.map { .categorical($0) } + numeric.map { .numeric($0) }, crosses: [])

  static let categorical = [
    "carrier", "origin", "dest", "tailnum", "flight", "hour", "month", "route", "origin_hour", "weekday", "day", "day_origin", "day_hour",
  ]
  static let numeric = ["temp", "humid", "wind_speed", "precip", "visib", "distance"]

  let records: [[UInt8]]

  init(form: EventForm, count: Int = 256, seed: UInt64 = 7) {
    var state = seed
    func random(_ bound: UInt64) -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return (state >> 33) % bound
    }
    let writer = EventWriter(form: form)
    records = (0..<count).map { i in
      writer.begin(id: "2013-06-01-\(i)", key: "UA\(random(5000))", eventTimeMilliseconds: 1_370_000_000_000 + Int64(i))
      for name in Self.categorical { writer.text(name, "v\(random(1000))") }
      for name in Self.numeric { writer.number(name, Double(random(10_000)) / 64) }
      return Array(writer.finish())
    }
  }
}
