// amx_access: CPUID, XCR0, arch_prctl, and one product both ways.
#include "engine/kernels/cpu/amx_access.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "common/base/log.h"
#include "engine/kernels/aligned.h"
#include "engine/kernels/cpu/kernels.h"

namespace hearth::engine::cpu {
namespace {

bool processor_has_tiles() {
    constexpr unsigned kTile = 1u << 24, kInt8 = 1u << 25, kOsXsave = 1u << 27;
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & kOsXsave) == 0) return false;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
    return (d & kTile) != 0 && (d & kInt8) != 0;
}

// The system saves the tiles' shapes and contents when it switches threads.
bool system_keeps_tiles() {
    constexpr unsigned kShapesAndContents = 3u << 17;
    unsigned low = 0, high = 0;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & kShapesAndContents) != kShapesAndContents) return false;
    constexpr long kRequestPermission = 0x1023, kTileContents = 18;
    return ::syscall(SYS_arch_prctl, kRequestPermission, kTileContents) == 0;
}

std::vector<float> product(const CpuKernels& kernels) {
    constexpr std::int32_t kRows = 37, kBlocks = 5, kDepth = 192;
    AlignedBuffer<std::int8_t> x;
    AlignedBuffer<std::uint8_t> w;
    AlignedBuffer<float> scale, out;
    x.resize(kRows * kDepth);
    w.resize(kBlocks * kRowFloats * kDepth);
    scale.resize(kBlocks * kRowFloats);
    out.resize(kRows * kBlocks * kRowFloats);
    std::vector<float> row_scale(kRows, 1.0f);
    std::vector<std::int32_t> sum(kRows, 0);
    for (std::int32_t i = 0; i < kRows * kDepth; ++i) {
        x.data()[i] = static_cast<std::int8_t>(i * 89 % 255 - 127);
        sum[static_cast<std::size_t>(i / kDepth)] += x.data()[i];
    }
    for (std::int32_t i = 0; i < kBlocks * kRowFloats * kDepth; ++i)
        w.data()[i] = static_cast<std::uint8_t>(i * 151 % 256);
    for (std::int32_t i = 0; i < kBlocks * kRowFloats; ++i) scale.data()[i] = 1.0f;
    const QuantRows rows{x.data(), row_scale.data(), sum.data(), kDepth};
    PackedView weights;
    weights.groups = kDepth / 4;
    weights.bytes = w.data();
    weights.scale = scale.data();
    const MatmulOut to{out.data(), kBlocks * kRowFloats, kBlocks * kRowFloats, nullptr, false};
    MatmulTask task{};
    task.x = &rows;
    task.w = &weights;
    task.out = &to;
    task.block_end = kBlocks;
    task.row_end = kRows;
    kernels.matmul(task);
    return {out.data(), out.data() + kRows * kBlocks * kRowFloats};
}

bool find_out() {
    if (!processor_has_tiles() || !system_keeps_tiles()) return false;
    const std::vector<float> tiles = product(*amx_kernels());
    const std::vector<float> vectors = product(*avx512vnni_kernels());
    const bool agree =
        std::memcmp(tiles.data(), vectors.data(), vectors.size() * sizeof(float)) == 0;
    if (!agree) log::error("matrix tiles compute something else than vectors: they are not used");
    return agree;
}

}  // namespace

bool amx_is_usable() {
    static const bool is_usable = find_out();
    return is_usable;
}

}  // namespace hearth::engine::cpu
#else
namespace hearth::engine::cpu {
bool amx_is_usable() {
    return false;
}
}  // namespace hearth::engine::cpu
#endif
