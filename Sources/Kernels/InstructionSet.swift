internal import CKernels

/// Which form of the block kernels runs. All give the same bits; tests force each.
public enum InstructionSet: Int32, Sendable, CaseIterable {
  case portable = 0
  case avx2 = 2
  case avx512 = 3

  /// The best that the processor has, unless forced.
  public static var current: InstructionSet { InstructionSet(rawValue: mr_kernel_isa()) ?? .portable }

  /// Returns what is in force afterwards: asking for one that the processor lacks changes nothing.
  public static func force(_ set: InstructionSet) -> InstructionSet { InstructionSet(rawValue: mr_kernel_force(set.rawValue)) ?? .portable }
}

/// The floating-point environment of threads that apply records.
public enum FloatEnvironment {
  /// Round to nearest, denormals kept, on the calling thread. True when it was so before.
  public static func set() -> Bool { mr_float_environment_set() }
}
