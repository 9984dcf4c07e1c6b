internal import Foundation
public import Telemetry

/// The process's own figures under the names that Prometheus's client libraries use.
public enum ProcessMetrics {
  /// Registers readings from the operating system; each is taken when `/metrics` is asked for.
  public static func register(in registry: Registry, version: String) {
    let started = Double(WallClock.milliseconds()) / 1000
    registry.gaugeReading("millrace_build_info", "Always 1; the labels tell the version.", labels: [("version", version)]) { 1 }
    registry.gaugeReading("process_start_time_seconds", "Start time since 1970, in seconds.") { started }
    registry.counterReading("process_cpu_seconds_total", "User and system CPU time, in seconds.") { cpuSeconds() }
    registry.gaugeReading("process_resident_memory_bytes", "Resident memory, in bytes.") { residentBytes() }
    registry.gaugeReading("process_open_fds", "Open file descriptors.") { openDescriptors() }
    registry.gaugeReading("process_max_fds", "Most file descriptors that may be open.") { descriptorsMax() }
    registry.gaugeReading("process_threads", "Threads.") { threads() }
  }

  static func cpuSeconds() -> Double {
    // Fields 14 and 15 of stat, counted after the name in brackets: ticks in user and in system mode.
    let fields = (text(of: "/proc/self/stat").split(separator: ")").last ?? "").split(separator: " ")
    guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12]) else { return .nan }
    return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
  }

  static func residentBytes() -> Double {
    // The second number of statm: resident pages.
    let fields = text(of: "/proc/self/statm").split(separator: " ")
    guard fields.count > 1, let pages = Double(fields[1]) else { return .nan }
    return pages * Double(sysconf(Int32(_SC_PAGESIZE)))
  }

  static func openDescriptors() -> Double {
    guard let entries = try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd") else { return .nan }
    // Listing the directory opens one more.
    return Double(entries.count - 1)
  }

  static func descriptorsMax() -> Double {
    for line in text(of: "/proc/self/limits").split(separator: "\n") where line.hasPrefix("Max open files") {
      let fields = line.split(separator: " ")
      if fields.count > 3, let soft = Double(fields[3]) { return soft }
    }
    return .nan
  }

  static func threads() -> Double {
    for line in text(of: "/proc/self/status").split(separator: "\n") where line.hasPrefix("Threads:") {
      return Double(line.dropFirst(8).trimmingCharacters(in: .whitespaces)) ?? .nan
    }
    return .nan
  }

  private static func text(of path: String) -> String {
    guard let data = FileManager.default.contents(atPath: path) else { return "" }
    return String(decoding: data, as: UTF8.self)
  }
}
