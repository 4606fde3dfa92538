#!/usr/bin/env bash
# gpu-check: builds with CUDA, checks what lies in the machine code, runs every op and model case on
# the device, looks for bad accesses and races, measures, and writes one report under docs/gpu/.
# Called by ./dev gpu-check, in the repository's root. --build-only: for machines without a GPU.
set -euo pipefail

BUILD=build/gpu
LOG=$BUILD/gpu-check
NO_DEVICE=3
build_only=
case ${1:-} in
--build-only) build_only=1 ;;
'') ;;
*)
    echo "usage: ./dev gpu-check [--build-only]" >&2
    exit 2
    ;;
esac

say() { printf '==> %s\n' "$*" >&2; }
die() {
    printf 'gpu-check: %s\n' "$*" >&2
    exit 1
}
find_tool() {
    command -v "$1" || ls "/usr/local/cuda/bin/$1" 2>/dev/null || true
}

[ -n "$(find_tool nvcc)" ] || die "no CUDA compiler (nvcc) on this machine"
mkdir -p "$LOG"
say "building with CUDA in $BUILD"
cmake -S . -B "$BUILD" -G Ninja -DCMAKE_BUILD_TYPE=Release -DHEARTH_CUDA=ON >"$LOG/configure.log" 2>&1 ||
    { tail -20 "$LOG/configure.log" >&2; die "configuration failed"; }
grep -q 'engine/kernels/cuda is built' "$LOG/configure.log" || die "CMake left CUDA out: $LOG/configure.log"
cmake --build "$BUILD" --target engine_tests gpu_bench >"$LOG/build.log" 2>&1 ||
    { tail -30 "$LOG/build.log" >&2; die "the build failed"; }

# What an instruction is called in machine code, and how often it is there; nothing is spilled where
# it would hurt (LDL and STL are local memory).
sass_lines() {
    local tool object
    tool=$(find_tool cuobjdump)
    if [ -z "$tool" ]; then
        echo "| machine code | not looked at: no cuobjdump | |"
        return
    fi
    for object in "$BUILD"/engine/kernels/cuda/{hopper,gemm,attend}_launches.o; do
        local arch
        for arch in sm_80 sm_90a; do
            "$tool" --dump-sass -arch $arch "$object" >"$LOG/sass" 2>/dev/null || continue
            printf '| %s, %s | ' "$(basename "$object" .o)" $arch
            grep -oE '\b(IGMMA\.[0-9x]+|IMMA\.[0-9]+|HMMA\.[0-9]+|UTMALDG|LDGSTS|LDSM|USETMAXREG|LDL|STL)' \
                "$LOG/sass" | sort | uniq -c | awk '{printf "%s %s, ", $2, $1}' | sed 's/, $//'
            echo " | |"
        done
    done
}
sass_lines >"$LOG/sass.md"

if [ -n "$build_only" ]; then
    cat "$LOG/sass.md" >&2
    say "built and linked with CUDA; nothing was run on a device (--build-only)"
    exit 0
fi

set +e
weights=()
for file in ../shared/data/weights/stories260K-f32.gguf shared/data/weights/stories260K-f32.gguf; do
    if [ -f "$file" ]; then weights=(--weights "$file"); fi
done
"$BUILD/bin/gpu_bench" "${weights[@]}" >"$LOG/bench.md" 2>"$LOG/bench.err"
bench=$?
set -e
if [ $bench = $NO_DEVICE ]; then
    printf 'gpu-check: %s; nothing was measured\n' "$(sed 's/^skipped: //' "$LOG/bench.err")" >&2
    exit $NO_DEVICE
fi
[ $bench -le 1 ] || { cat "$LOG/bench.err" >&2; die "gpu_bench ended with $bench"; }

failures=$bench
result() { # name, log; runs the rest.
    local name=$1 log=$2 status=pass
    shift 2
    "$@" >"$log" 2>&1 || status='**fail**'
    [ "$status" = pass ] || failures=1
    local skipped
    skipped=$(grep -cE '^\[  SKIPPED \] [^ ]+ \(' "$log" || true)
    echo "| $name | $(grep -oE '[0-9]+ tests? from [0-9]+ test suites? ran' "$log" | head -1), $skipped skipped | $status |"
}
say "op cases and models on the device"
{
    result 'op cases against ref' "$LOG/ops.log" \
        "$BUILD/bin/engine_tests" --gtest_filter='CudaOps.*'
    result 'models against ref: logits, slices, pages, overlapping steps' "$LOG/models.log" \
        "$BUILD/bin/engine_tests" --gtest_filter='On/CudaModels.*'
    result 'everything else of the backend' "$LOG/host.log" \
        "$BUILD/bin/engine_tests" --gtest_filter='Cuda*:DecodeLoop.*:-CudaOps.*'
    sanitizer=$(find_tool compute-sanitizer)
    for tool in memcheck racecheck; do
        if [ -z "$sanitizer" ]; then
            echo "| compute-sanitizer $tool | not run: it is not on this machine | |"
            continue
        fi
        result "compute-sanitizer $tool on the op cases" "$LOG/$tool.log" "$sanitizer" --tool $tool \
            --error-exitcode 9 "$BUILD/bin/engine_tests" --gtest_filter='CudaOps.Device*'
    done
} >"$LOG/tests.md"

chip=$(head -1 "$LOG/bench.md" | cut -d, -f1)
driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -1 || true)
mkdir -p docs/gpu
report=docs/gpu/$(date -u +%F)-$(echo "$chip" | tr 'A-Z ' 'a-z-' | tr -cd 'a-z0-9-').md
{
    echo "# $chip"
    echo
    echo "| | |"
    echo "| --- | --- |"
    echo "| date | $(date -u +%F) |"
    echo "| driver | ${driver:-unknown} |"
    echo "| commit | $(git rev-parse HEAD)$(git diff --quiet HEAD || echo ' and changes') |"
    echo
    echo "## Checks"
    echo
    echo "| what | | |"
    echo "| --- | --- | --- |"
    cat "$LOG/tests.md" "$LOG/sass.md"
    echo
    echo "## Figures"
    echo
    cat "$LOG/bench.md"
} >"$report"
say "wrote $report"
cat "$report"
exit "$failures"
