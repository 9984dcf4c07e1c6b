import Kafka
import Testing

@Suite struct BackPressureTests {
  @Test func pausesAtTheHighMarkAndResumesAtTheLow() {
    var pressure = BackPressure(highMark: 10, lowMark: 4)
    let changes = [9, 10, 12, 5, 4, 9, 10].map { pressure.update(inFlight: $0) }
    #expect(changes == [nil, .pause, nil, nil, .resume, nil, .pause])
    #expect(pressure.isPaused)
  }
}
