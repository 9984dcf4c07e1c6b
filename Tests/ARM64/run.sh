#!/bin/bash
# Compiles every kernel for arm64 with the toolchain's clang, and runs the forms of matrices and rows there against the portable ones under qemu:
#   Tests/ARM64/run.sh
# Needs Debian's libc6-dev-arm64-cross and libgcc-12-dev-arm64-cross to compile and link, qemu-user-static to run. What is missing is skipped, and said.
set -uo pipefail
cd "$(dirname "$0")/../.."

clang=$(dirname "$(readlink -f "$(command -v swiftc)")")/clang
headers=/usr/aarch64-linux-gnu/include
flags=(--target=aarch64-linux-gnu -isystem "$headers" -O3 -ffp-contract=off -fno-fast-math -Wall -I Sources/CKernels/include)
objects=.build/arm64
# A machine that is one needs neither.
if [ "$(uname -m)" = aarch64 ]; then
  flags=(-O3 -ffp-contract=off -fno-fast-math -Wall -I Sources/CKernels/include)
elif [ ! -f "$headers/stdio.h" ]; then
  echo "arm64: SKIPPED, no headers of arm64's C library (apt-get install libc6-dev-arm64-cross)" >&2
  exit 0
fi

rm -rf "$objects" && mkdir -p "$objects"
failed=0
count=0
while IFS= read -r source; do
  object=$objects/$(echo "${source#Sources/CKernels/}" | tr / -).o
  "$clang" "${flags[@]}" -std=c11 -c "$source" -o "$object" || { echo "arm64: $source does not compile" >&2; failed=1; }
  count=$((count + 1))
done < <(find Sources/CKernels -name '*.c' | sort)
[ "$failed" = 0 ] || exit 1
echo "arm64: $count files compile"

link() {
  "$clang" "${flags[@]}" -std=gnu11 -fuse-ld=lld -static "Tests/ARM64/$1.c" "${@:2}" "$objects"/isa.c.o -lm -o "$objects/$1" 2>"$objects/link.log"
}
if ! link matrix_forms "$objects"/matrix-*.o || ! link row_forms "$objects"/embedding-*.o "$objects"/interaction-*.o; then
  tail -n 5 "$objects/link.log" >&2
  echo "arm64: NOT RUN, the tests do not link (apt-get install libgcc-12-dev-arm64-cross)" >&2
  exit 0
fi
if [ "$(uname -m)" = aarch64 ]; then
  "$objects/matrix_forms" && "$objects/row_forms"
  exit
fi
qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64)
if [ -z "$qemu" ]; then
  echo "arm64: NOT RUN, no qemu (apt-get install qemu-user-static)" >&2
  exit 0
fi
# One processor with dot products of bytes and one without: both int8 forms.
for cpu in max cortex-a57; do
  echo "arm64: matrix forms on $cpu"
  timeout 300 "$qemu" -cpu "$cpu" "$objects/matrix_forms" || exit 1
done
echo "arm64: forms of rows"
timeout 300 "$qemu" "$objects/row_forms" || exit 1
