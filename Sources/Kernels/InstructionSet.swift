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

/// The floating-point environment of threads that apply records.
public enum FloatEnvironment {
  /// Round to nearest, denormals kept, on the calling thread. True when it was so before.
  public static func set() -> Bool { mr_float_environment_set() }
}
