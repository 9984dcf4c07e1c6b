#!/bin/bash
# Writes what the project needs of protos/ in other languages: C code into Sources/CMessages, and file descriptors for reflection as
# Swift, one file for each proto. With a folder given all goes there (a test uses that to notice drift).
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
messages=${1:-$root/Sources/CMessages}
rpc=${1:-$root/Sources/RPC/Services}
endpoint=${1:-$root/Sources/Endpoint/Descriptors}
output=$(mktemp -d)
trap 'rm -rf "$output"' EXIT
cd "$root/protos"

for proto in millrace/events inference/inference; do
  protoc-c --proto_path=. --c_out="$output" "$proto.proto"
  mkdir -p "$messages/$(dirname "$proto")" "$messages/include/$(dirname "$proto")"
  cp "$output/$proto.pb-c.c" "$messages/$proto.pb-c.c"
  cp "$output/$proto.pb-c.h" "$messages/include/$proto.pb-c.h"
done

# describe FOLDER NAME PROTO [IMPORT]: FOLDER/NAMEFile.swift with the descriptor of PROTO, comments left out.
describe() {
  protoc --proto_path=. --descriptor_set_out="$output/descriptors" "$3.proto"
  mkdir -p "$1"
  {
    echo "// Written by protos/generate.sh from protos/$3.proto: do not edit."
    [ -z "${4:-}" ] || printf '%s\n\n' "$4"
    echo "extension ProtoFile {"
    echo "  static let ${2,} = ProtoFile("
    echo '    descriptorSet: """'
    base64 -w 120 "$output/descriptors" | sed -e 's/^/      /' -e '$!s/$/\\/'
    echo '      """)'
    echo "}"
  } >"$1/$2File.swift"
}
describe "$rpc" Health grpc/health/v1/health
describe "$rpc" Reflection grpc/reflection/v1/reflection
describe "$rpc" ReflectionAlpha grpc/reflection/v1alpha/reflection
describe "$endpoint" Inference inference/inference "internal import RPC"
describe "$endpoint" Events millrace/events "internal import RPC"
describe "$endpoint" Ingest millrace/ingest "internal import RPC"
