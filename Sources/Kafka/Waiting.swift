internal import Glibc

/// Blocks the calling thread between two tries of something on the control plane.
func waitMilliseconds(_ milliseconds: UInt32) { usleep(milliseconds * 1_000) }
