import Testing

@testable import Operations

@Suite struct HealthRegistryTests {
  @Test func aComponentIsNotReadyUntilItSaysSo() {
    let health = HealthRegistry()
    #expect(health.isReady)
    let broker = health.register("broker")
    #expect(!health.isReady)
    #expect(health.components() == [ComponentHealth(name: "broker", ready: false, detail: "starting")])
    broker.ready("listening at 127.0.0.1:9092")
    #expect(health.isReady)
    broker.notReady("the disk is full")
    #expect(health.components().first?.detail == "the disk is full")
    #expect(!health.isReady)
  }

  @Test func askedComponentsAnswerEachTime() {
    let health = HealthRegistry()
    let ready = Cell(false)
    health.register("replica") { (ready.value, ready.value ? "" : "12 records behind") }
    #expect(!health.isReady)
    ready.value = true
    #expect(health.isReady)
  }

  @Test func componentsStandInOrderAndCanBeReplacedAndRemoved() {
    let health = HealthRegistry()
    _ = health.register("b")
    let a = health.register("a")
    a.ready()
    _ = health.register("b") 
    #expect(health.components().map(\.name) == ["b", "a"])
    health.remove("b")
    #expect(health.isReady)
  }

  @Test func aStoppingProcessIsNotReady() {
    let health = HealthRegistry()
    health.register("all").ready()
    health.beginStopping()
    #expect(!health.isReady)
    #expect(health.components().last == ComponentHealth(name: "process", ready: false, detail: "stopping"))
  }
}
