#!/usr/bin/env bash
# The demo: a Redis server, three cache nodes and a router as processes of their own on loopback,
# then real chats replayed through the router. Called by ./dev demo with the folder of the programs.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: ./dev demo [--once] [--chats FILE] [--chat-limit N] [--turn-limit N]
                  [--model NAME|PATH] [--kill-redis]

  --once           end the fleet after the replay (otherwise it keeps serving until Ctrl-C), and
                   fail if a session moved or the inter-turn hit rate is below 0.95
  --chats FILE     replay another file: one chat a line, {"id":…,"turns":[{"role","text"},…]}
  --chat-limit N   only the first N chats of the file
  --turn-limit N   at most N user turns of each chat
  --model NAME     smollm2 (default), tiny, or a path to a GGUF file or a Hugging Face folder
  --kill-redis     kill the Redis server after 23 turns, to see that no chat notices
TEXT
}

wrong() {
    printf 'demo: %s\n\n' "$1" >&2
    usage >&2
    exit 2
}
# needs FLAG WHAT [VALUE]: the flag's value is there, and a number where one is wanted.
needs() {
    [ $# -ge 3 ] || wrong "$1 needs a $2"
    [ "$2" != number ] || [[ $3 =~ ^[1-9][0-9]*$ ]] || wrong "$1 needs a number above 0, not '$3'"
}

bin=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
once= kill_redis= model=smollm2 chats=$here/chats.jsonl replay_args=()
while [ $# -gt 0 ]; do
    case $1 in
    --once) once=1; replay_args+=(--expect-hit-rate 0.95 --expect-moved 0) ;;
    --kill-redis) kill_redis=1 ;;
    --chats) needs "$1" file "${@:2:1}"; chats=$2; shift ;;
    --model) needs "$1" name "${@:2:1}"; model=$2; shift ;;
    --chat-limit | --turn-limit) needs "$1" number "${@:2:1}"; replay_args+=("$1" "$2"); shift ;;
    -h | --help) usage; exit 0 ;;
    *) wrong "unknown option: $1" ;;
    esac
    shift
done
[ -r "$chats" ] || { echo "demo: cannot read chats file: $chats" >&2; exit 2; }
[ "$bin" = --check ] && exit 0 # Only the words were to be looked at.

work=$(mktemp -d "${TMPDIR:-/tmp}/hearth-demo.XXXXXX")
pids=()
end_fleet() {
    trap - EXIT INT TERM
    [ ${#pids[@]} -gt 0 ] && kill "${pids[@]}" 2>/dev/null
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap end_fleet EXIT
trap 'exit 130' INT TERM

fail() {
    echo "demo: $1; the end of its log:" >&2
    tail -n 20 "$2" >&2 || true
    exit 1
}

# start NAME COMMAND...: runs a program in the background and sets `address` from its ready line.
start() {
    local name=$1
    shift
    "$@" >"$work/$name.out" 2>"$work/$name.log" &
    pids+=($!)
    local pid=$! waited=0
    until grep -q '^ready http://' "$work/$name.out" 2>/dev/null; do
        kill -0 "$pid" 2>/dev/null || fail "$name ended while starting" "$work/$name.log"
        [ $waited -lt 600 ] || fail "$name was not ready after 60 s" "$work/$name.log"
        sleep 0.1
        waited=$((waited + 1))
    done
    address=$(sed -n 's|^ready http://||p' "$work/$name.out" | head -n 1)
    printf '  %-10s pid %-7s http://%s\n' "$name" "$pid" "$address"
}

model_path=$("$bin/hearth" model get "$model")

echo "Starting the fleet"
# A free port: ask the kernel for one, then let the server bind it.
redis_port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
redis-server --port "$redis_port" --bind 127.0.0.1 --save '' --appendonly no --dir "$work" \
    >"$work/redis.log" 2>&1 &
redis_pid=$!
pids+=("$redis_pid")
disown "$redis_pid"  # or bash reports its end when --kill-redis is given
redis=127.0.0.1:$redis_port
for _ in $(seq 100); do
    redis-cli -p "$redis_port" ping 2>/dev/null | grep -q PONG && break
    kill -0 "$redis_pid" 2>/dev/null || fail "redis-server ended" "$work/redis.log"
    sleep 0.1
done
printf '  %-10s pid %-7s %s\n' redis "$redis_pid" "$redis"

nodes=()
for n in 1 2 3; do
    start "node-$n" "$bin/hearth-cachenode" --node-id "node-$n" --listen 127.0.0.1:0 \
        --model-path "$model_path" --served-model-name "$model" --redis "$redis" \
        --kv-memory 512MiB --threads 1
    nodes+=(--node "$address")
done
# The three nodes share the cores of this machine: a session that leaves a busy one gains nothing.
start router "$bin/hearth-router" --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --redis "$redis" \
    --spill-margin-ms 1h
router=$address
admin=$(sed -n 's/.*event="router serves".* admin=\([^ ]*\).*/\1/p' "$work/router.log" | head -n 1)
waited=0
until [ "$("$bin/hearth" status --admin "$admin" --json | grep -o '"healthy":true' | wc -l)" = 3 ]; do
    [ $waited -lt 300 ] || fail "the router does not see three healthy nodes" "$work/router.log"
    sleep 0.1
    waited=$((waited + 1))
done

echo
rows=0
status=0
: >"$work/replay.out" # For tail, which may be quicker than the replay's start.
"$bin/hearth" replay --router "$router" "${nodes[@]}" --chats "$chats" --json "${replay_args[@]}" \
    >"$work/replay.out" 2>"$work/replay.err" &
replay_pid=$!
pids+=("$replay_pid")
tail -n +1 -f --pid="$replay_pid" "$work/replay.out" | while IFS= read -r line; do
    printf '%s\n' "$line"
    rows=$((rows + 1))
    if [ -n "$kill_redis" ] && [ "$rows" = 24 ]; then
        kill -9 "$redis_pid"
        echo "-- redis-server (pid $redis_pid) was killed here --"
    fi
done
wait "$replay_pid" || status=$?
cat "$work/replay.err" >&2

if [ -z "$once" ] && [ $status = 0 ]; then
    cat <<TEXT

The fleet keeps serving at http://$router (Ctrl-C ends it). In another terminal:
  $bin/hearth chat --router $router
  $bin/hearth status --admin $admin
  curl -s http://$router/v1/chat/completions -d '{"model":"$model","messages":[{"role":"user","content":"Hello"}]}'
TEXT
    wait
fi
exit $status
