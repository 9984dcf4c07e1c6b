// The Swift face of the kernels.
