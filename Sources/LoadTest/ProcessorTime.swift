internal import Glibc

/// Processor time of this process or another one of this machine, so that a report can say which side was the limit.
public struct ProcessorTime: Sendable {
  private let clock: clockid_t
  private let identifier: pid_t

  /// This process.
  public init() {
    clock = CLOCK_PROCESS_CPUTIME_ID
    identifier = getpid()
  }

  /// Another process; nil when there is none with this id.
  public init?(processIdentifier: Int32) {
    var clock = clockid_t()
    guard processIdentifier > 0, clock_getcpuclockid(processIdentifier, &clock) == 0 else { return nil }
    self.clock = clock
    identifier = processIdentifier
  }

  /// Nanoseconds that all threads of the process have run; nil when it has ended.
  public func nanoseconds() -> Int64? {
    var time = timespec()
    guard clock_gettime(clock, &time) == 0 else { return nil }
    return Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
  }

  /// The process's resident memory in bytes; nil when it has ended.
  public func residentBytes() -> Int? {
    guard let text = status("VmRSS:"), let kibibytes = Int(text.split(separator: " ").first ?? "") else { return nil }
    return kibibytes * 1_024
  }

  /// Processors that the process may use: its affinity, or all when that cannot be read.
  public func processors() -> Int {
    guard let mask = status("Cpus_allowed:") else { return Self.online }
    return max(1, mask.reduce(0) { $0 + (Int(String($1), radix: 16)?.nonzeroBitCount ?? 0) })
  }

  /// One line of /proc/…/status without its name.
  private func status(_ name: String) -> String? {
    guard let file = fopen("/proc/\(identifier)/status", "r") else { return nil }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 512)
    while fgets(&line, Int32(line.count), file) != nil {
      let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      guard text.hasPrefix(name) else { continue }
      return String(text.dropFirst(name.count).drop { $0 == " " || $0 == "\t" }.prefix { $0 != "\n" })
    }
    return nil
  }

  /// Processors of the machine.
  public static var online: Int { max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))) }
}

/// Processor time that one thread has run, as seen by itself.
@inline(__always)
func threadProcessorNanoseconds() -> Int64 {
  var time = timespec()
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
  return Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
}
