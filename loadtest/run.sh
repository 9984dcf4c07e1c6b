#!/bin/bash
# Runs the short scenarios against an instance of its own: an embedded broker on a free port and a fresh directory,
# both gone afterwards. Reports go to .build/loadtest.
#
#   loadtest/run.sh                    all of them, about a minute
#   DRAIN=2000000 RATE=50000 SECONDS_EACH=20 loadtest/run.sh
set -euo pipefail
cd "$(dirname "$0")/.."
millrace=${MILLRACE:-.build/release/millrace}
reports=${REPORTS:-.build/loadtest}
drain=${DRAIN:-300000}
rate=${RATE:-}
seconds=${SECONDS_EACH:-}
work=$(mktemp -d)
pids=()

stop() {  # PID: asks, and waits until it has gone
  kill -TERM "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}
cleanup() {
  for pid in "${pids[@]}"; do stop "$pid"; done
  rm -rf "$work"
}
trap cleanup EXIT
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
wait_for() {  # FILE TEXT: until the file holds the text
  for _ in $(seq 1200); do
    grep -q "$2" "$1" 2>/dev/null && return
    sleep 0.1
  done
  echo "loadtest: \"$2\" did not appear; the log:" >&2
  tail -n 20 "$1" >&2
  exit 1
}

mkdir -p "$reports"
port=$(free_port)
options=(--bootstrap "127.0.0.1:$port" --model loadtest/model.yaml)
shape=()
if [ -n "$rate" ]; then shape+=(--rate "$rate"); fi
if [ -n "$seconds" ]; then shape+=(--duration "$seconds"); fi

# The broker first, alone, with the topics and a backlog; the instance starts when the backlog is there.
"$millrace" broker --listen "127.0.0.1:$port" --data "$work/broker" >"$work/broker.out" 2>&1 &
pids+=($!)
cat >"$work/instance.yaml" <<YAML
roles: [gateway, node, trainer]
data_directory: $work/instance
kafka: {bootstrap: "127.0.0.1:$port"}
admin: {enabled: false}
grpc: {enabled: false}
http: {enabled: false}
control: {enabled: false}
logging: {level: warning}
YAML
wait_for "$work/broker.out" "listening"
"$millrace" topics create features labels examples predictions --partitions 2 --bootstrap "127.0.0.1:$port" >"$work/topics.log" ||
  { cat "$work/topics.log" >&2; exit 1; }

echo "== a backlog of $drain events drained"
"$millrace" loadtest kafka "${options[@]}" --drain "$drain" --json "$reports/drain.json" >"$work/drain.txt" 2>"$work/drain.log" &
drainer=$!
wait_for "$work/drain.log" "is there"
"$millrace" run --config "$work/instance.yaml" --model loadtest/model.yaml 2>"$work/instance.log" &
pids+=($!)
wait "$drainer" || { cat "$work/drain.log" "$work/instance.log" >&2; exit 1; }
cat "$work/drain.txt"

for form in protobuf json; do
  echo
  echo "== features to predictions, $form"
  "$millrace" loadtest kafka "${options[@]}" --scenario loadtest/short.yaml --form "$form" "${shape[@]}" \
    --json "$reports/kafka-$form.json" --html "$reports/kafka-$form.html"
done

echo
echo "== labels to a serving replica"
"$millrace" loadtest learn "${options[@]}" --scenario loadtest/short.yaml "${shape[@]}" \
  --json "$reports/learn.json" --html "$reports/learn.html"
echo
echo "Reports: $reports"
