#!/bin/bash
# Fuzzes every decoder for a few seconds each, from the committed corpus:
#   Tests/Fuzz/run.sh [SECONDS] [TARGET…]
# The same inputs each time, as far as the seconds reach; SEED=0 takes new ones. Fails, and says which input did it, when one crashes. To see a finding again:
#   .build/fuzz/debug/Fuzz TARGET .build/fuzz/findings/TARGET-…
set -uo pipefail
seconds=${1:-${SECONDS_EACH:-5}}
shift || true
cd "$(dirname "$0")/../.."

clang=$(dirname "$(readlink -f "$(command -v swiftc)")")/clang
resources=$("$clang" -print-resource-dir 2>/dev/null)
MILLRACE_LIBFUZZER=$(find "$resources" -name "libclang_rt.fuzzer_no_main*$(uname -m)*.a" 2>/dev/null | head -n 1)
if [ -z "$MILLRACE_LIBFUZZER" ]; then
  echo "fuzz: this Swift toolchain has no libFuzzer (no libclang_rt.fuzzer_no_main under $resources); skipped" >&2
  exit 0
fi
export MILLRACE_LIBFUZZER

# The checkouts of the package's own build serve here too: nothing is fetched twice.
mkdir -p .build/fuzz/findings
if [ -d .build/checkouts ] && [ ! -e .build/fuzz/checkouts ]; then
  ln -s ../checkouts ../repositories .build/fuzz/
  cp .build/workspace-state.json .build/fuzz/
fi
echo "fuzz: building the targets"
if ! swift build --scratch-path .build/fuzz --product Fuzz -Xswiftc -Onone >.build/fuzz/build.log 2>&1; then
  tail -n 30 .build/fuzz/build.log >&2
  exit 1
fi

fuzz=.build/fuzz/debug/Fuzz
targets=${*:-$("$fuzz" | sed -n 's/^targets: //p')}
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1
export SWIFT_BACKTRACE=enable=no
failed=""
for target in $targets; do
  # Inputs that reach new code gather outside the tree; the committed ones are only read.
  mkdir -p ".build/fuzz/corpus/$target" "Tests/Fuzz/corpus/$target"
  log=.build/fuzz/$target.log
  if "$fuzz" "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
      -seed="${SEED:-1}" -artifact_prefix=".build/fuzz/findings/$target-" ".build/fuzz/corpus/$target" "Tests/Fuzz/corpus/$target" >"$log" 2>&1; then
    echo "fuzz: $target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs, no finding"
  else
    grep -E "ERROR|broken promise|Fatal error|SUMMARY|Test unit written" "$log" | head -n 8 >&2
    finding=$(sed -n 's/.*Test unit written to //p' "$log" | head -n 1)
    echo "fuzz: $target FAILED with the input ${finding:-(see $log)}" >&2
    failed="$failed $target"
  fi
done
if [ -n "$failed" ]; then
  echo "fuzz: failed:$failed" >&2
  exit 1
fi
