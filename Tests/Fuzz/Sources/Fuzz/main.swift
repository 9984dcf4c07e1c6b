import CFuzzDriver
import Foundation

// Fuzz TARGET [libFuzzer's options and corpus folders]
// Fuzz --write-seeds FOLDER
let arguments = CommandLine.arguments
if arguments.count == 3, arguments[1] == "--write-seeds" {
  try Seeds.write(to: arguments[2])
  exit(0)
}
guard arguments.count >= 2, let target = FuzzTarget.named(arguments[1]) else {
  print("targets: \(FuzzTarget.all.map(\.name).joined(separator: " "))")
  exit(64)
}
FuzzTarget.current = target.make()
var count = Int32(arguments.count - 1)
var pointers: [UnsafeMutablePointer<CChar>?] = ([arguments[0]] + arguments[2...]).map { strdup($0) } + [nil]
pointers.withUnsafeMutableBufferPointer { buffer in
  buffer.baseAddress!.withMemoryRebound(to: UnsafeMutablePointer<CChar>.self, capacity: buffer.count) { base in
    var argv = base
    exit(LLVMFuzzerRunDriver(&count, &argv) { data, size in
      FuzzTarget.current(UnsafeRawBufferPointer(start: data, count: size))
      return 0
    })
  }
}
