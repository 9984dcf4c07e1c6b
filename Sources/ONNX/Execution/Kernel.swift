// Hot: what runs for each batch. No allocation, existential or String once prepared.
internal import Model
internal import Kernels

/// How one node runs. Immutable and shared by all threads: what changes lies in `Call`.
class Kernel: @unchecked Sendable {
  init() {}

  /// Bytes of state for each thread, zeroed once, 64-byte aligned: what `prepare` computes and `run` reads.
  var stateBytes: Int { 0 }

  /// Called before the first run, and again whenever the number of rows has changed: dimensions stand, contents do not.
  func prepare(_ call: Call) {}

  /// Bytes of scratch memory for the call, whose dimensions stand. The scratch is shared by all nodes: it holds nothing from one run to another.
  func scratchBytes(_ call: Call) -> Int { 0 }

  /// Reads inputs, writes outputs. Outputs never overlap inputs, unless `inPlaceInputs` says that they may.
  func run(_ call: Call) { preconditionFailure("\(Self.self) does not run") }

  /// Inputs whose memory the first output may take, when nobody needs them afterwards (elementwise, same size).
  var inPlaceInputs: [Int] { [] }

  /// Whether the first output is the first input's bytes under another shape: nothing runs then.
  var isView: Bool { false }
}

/// A tensor of one thread. Dimensions and data stand as long as a kernel runs.
struct Tensor {
  var data: UnsafeMutableRawPointer
  var dims: UnsafeMutablePointer<Int>
  var rank: Int
  /// Elements.
  var count: Int
  var element: TensorElement

  @inline(__always) func pointer<T: BitwiseCopyable>(_: T.Type = T.self) -> UnsafeMutablePointer<T> { data.assumingMemoryBound(to: T.self) }
  @inline(__always) var floats: UnsafeMutablePointer<Float> { data.assumingMemoryBound(to: Float.self) }
  var byteCount: Int { count * element.bytes }
  /// The product of dimensions `from` ..< `to`.
  @inline(__always) func product(_ from: Int, _ to: Int) -> Int {
    var result = 1
    var axis = from
    while axis < to {
      result &*= dims[axis]
      axis += 1
    }
    return result
  }
}

/// The operands of one node in one thread, and its memory.
struct Call {
  let tensors: UnsafeMutablePointer<Tensor>
  /// Indices of tensors: inputs, then outputs; -1: left out.
  let operands: UnsafeMutablePointer<Int32>
  let inputCount: Int
  let outputCount: Int
  let state: UnsafeMutableRawPointer
  let thread: ThreadMemory

  @inline(__always) func hasInput(_ index: Int) -> Bool { index < inputCount && operands[index] >= 0 }
  @inline(__always) func hasOutput(_ index: Int) -> Bool { index < outputCount && operands[inputCount + index] >= 0 }
  /// The input must be there.
  @inline(__always) func input(_ index: Int) -> Tensor { tensors[Int(operands[index])] }
  /// The output must be there: those are that the operator does not declare optional.
  @inline(__always) func output(_ index: Int = 0) -> Tensor { tensors[Int(operands[inputCount + index])] }
  @inline(__always) func state<T: BitwiseCopyable>(_: T.Type) -> UnsafeMutablePointer<T> { state.assumingMemoryBound(to: T.self) }
  @inline(__always) var scratch: UnsafeMutableRawPointer { thread.pointee.scratch }
  /// Rows of the batch; 1 where nothing depends on rows.
  @inline(__always) var rows: Int { thread.pointee.rows }
  @inline(__always) var matrices: MatrixScratch { thread.pointee.matrices._withUnsafeGuaranteedRef { $0 } }
  /// Tells that the data cannot be computed with (an index out of range): the run is an error then. The kernel writes something harmless.
  func problem(_ problem: RunProblem) { if thread.pointee.problem == 0 { thread.pointee.problem = problem.rawValue } }
}

/// What a run may find wrong with data.
enum RunProblem: Int32, Sendable {
  case indexOutOfRange = 1
  case divisionByZero = 2
}

typealias ThreadMemory = UnsafeMutablePointer<ThreadState>

/// What all nodes of one thread share.
struct ThreadState {
  var scratch: UnsafeMutableRawPointer
  var rows: Int
  var problem: Int32
  /// What matrix products work in. The executor owns it.
  let matrices: Unmanaged<MatrixScratch>
}

extension RunProblem {
  var reason: String {
    switch self {
    case .indexOutOfRange: "an index is out of range"
    case .divisionByZero: "an integer is divided by zero"
    }
  }
}
