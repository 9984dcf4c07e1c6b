internal import CKernels

/// Which form of the kernels runs: chosen once from the processor, or by `MILLRACE_ISA`. Tests force each. Kernels of the update log give
/// the same bits in all forms.
public enum InstructionSet: Int32, Sendable, CaseIterable {
  case scalar = 0
  case neon = 1
  case avx2 = 2
  case avx512 = 3

  public static var current: InstructionSet { InstructionSet(rawValue: mr_isa()) ?? .scalar }

  /// Those that this processor has.
  public static var supported: [InstructionSet] { allCases.filter { mr_isa_supported($0.rawValue) } }

  /// Returns what is in force afterwards: asking for one that the processor lacks changes nothing.
  @discardableResult
  public static func force(_ set: InstructionSet) -> InstructionSet { InstructionSet(rawValue: mr_isa_force(set.rawValue)) ?? .scalar }
}

/// `MILLRACE_ISA` names an instruction set that kernels cannot run in. They run in the best that there is; programs say it, and stop.
public struct InstructionSetError: Error, Equatable, CustomStringConvertible {
  /// What the variable says.
  public let value: String
  /// An instruction set that other processors have, or a name of nothing.
  public let isKnown: Bool
  /// Those that this processor has.
  public let supported: [InstructionSet]

  public var description: String {
    let what = isKnown ? "an instruction set that this processor lacks" : "no name of an instruction set"
    return "MILLRACE_ISA is \"\(value)\": \(what). This machine has \(supported.map { "\($0)" }.joined(separator: ", ")); without the variable the best is taken."
  }
}

extension InstructionSet {
  /// Whether `value` of `MILLRACE_ISA` can be followed. Not set, or empty: the best that the processor has.
  public static func check(environment value: String?) throws(InstructionSetError) {
    guard let value, !value.isEmpty, !supported.contains(where: { "\($0)" == value }) else { return }
    throw InstructionSetError(value: value, isKnown: allCases.contains { "\($0)" == value }, supported: supported)
  }
}

/// The floating-point environment of threads that apply records.
public enum FloatEnvironment {
  /// Round to nearest, denormals kept, on the calling thread. True when it was so before.
  public static func set() -> Bool { mr_float_environment_set() }
}
