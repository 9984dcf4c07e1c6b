#!/bin/bash
# Writes the C code of protos/ into Sources/CMessages (or into the folder given, which a test uses to notice drift).
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
target=${1:-$root/Sources/CMessages}
output=$(mktemp -d)
trap 'rm -rf "$output"' EXIT
cd "$root/protos"
for proto in millrace/events inference/inference; do
  protoc-c --proto_path=. --c_out="$output" "$proto.proto"
  mkdir -p "$target/$(dirname "$proto")" "$target/include/$(dirname "$proto")"
  cp "$output/$proto.pb-c.c" "$target/$proto.pb-c.c"
  cp "$output/$proto.pb-c.h" "$target/include/$proto.pb-c.h"
done
