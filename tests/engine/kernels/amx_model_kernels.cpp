// amx_model_kernels: the code of matrix tiles over a model of the instructions, as Intel's manual
// states them (volume 2, LDTILECFG, TILELOADD, TDPBSUD, TILESTORED), for machines without them. All
// else is scalar. What the manual makes a fault stops the program here.
#define HEARTH_MATRIX_TILES
#include "engine/kernels/cpu/kernels.h"
#include "engine/kernels/cpu/lanes.h"

namespace {

constexpr const char* kIsa = "amx-model";
constexpr std::uint8_t kFlip = 0x80;
constexpr std::int32_t kTileRows = 2;
constexpr std::int32_t kValueRows = 2;
constexpr std::int32_t kValueWide = 2;  // Native vectors.

// [16 output channels][4 input channels].
constexpr std::int32_t slot(std::int32_t channel, std::int32_t k) {
    return channel * 4 + k;
}

template <std::int32_t kRows, std::int32_t kBlocks, typename Keep>
HEARTH_INLINE void dot_tile(const std::int8_t* x, std::ptrdiff_t stride, const std::uint8_t* w,
                            std::int32_t groups, const Keep& keep, Ahead = {}) {
    for (std::int32_t b = 0; b < kBlocks; ++b, w += static_cast<std::ptrdiff_t>(groups) * 64) {
        for (std::int32_t r = 0; r < kRows; ++r) {
            std::int32_t sums[kLanes] = {};
            for (std::int32_t k = 0; k < groups * 4; ++k)
                for (std::int32_t i = 0; i < kLanes; ++i)
                    sums[i] += x[r * stride + k] * w[k / 4 * 64 + slot(i, k % 4)];
            Ints acc;
            std::memcpy(&acc, sums, sizeof acc);
            keep(static_cast<std::size_t>(r), static_cast<std::size_t>(b), acc);
        }
    }
}

HEARTH_INLINE void pack_keys(const std::int8_t* k, std::int32_t head_dim, std::int32_t blocks,
                             std::uint8_t* out) {
    for (std::int32_t key = 0; key < blocks * kLanes; ++key)
        for (std::int32_t d = 0; d < head_dim; ++d)
            out[(key / kLanes * head_dim + d / 4 * 4) * kLanes + slot(key % kLanes, d % 4)] =
                static_cast<std::uint8_t>(k[key * head_dim + d] ^ static_cast<std::int8_t>(kFlip));
}

void demand(bool holds) {
    if (!holds) __builtin_trap();
}

struct Tiles {
    struct State {
        bool configured = false;
        std::int32_t rows[8] = {}, row_bytes[8] = {};
        std::uint8_t bytes[8][16][64] = {};
    };
    static State& state() {
        static thread_local State now;
        return now;
    }

    template <typename Shapes>
    static void configure(const Shapes& shapes) {
        std::uint8_t bytes[64];
        static_assert(sizeof shapes == sizeof bytes);
        std::memcpy(bytes, &shapes, sizeof bytes);
        demand(bytes[0] == 1 && bytes[1] == 0);
        for (std::int32_t i = 2; i < 16; ++i) demand(bytes[i] == 0);
        state() = State();
        for (std::int32_t t = 0; t < 16; ++t) {
            const std::int32_t row_bytes = bytes[16 + 2 * t] | bytes[17 + 2 * t] << 8;
            const std::int32_t rows = bytes[48 + t];
            demand(t < 8 ? rows <= 16 && row_bytes <= 64 : rows == 0 && row_bytes == 0);
            demand((rows == 0) == (row_bytes == 0));
            if (t >= 8) continue;
            state().rows[t] = rows;
            state().row_bytes[t] = row_bytes;
        }
        state().configured = true;
    }
    static void release() { state() = State(); }
    template <int kTile>
    static void zero() {
        demand(state().configured && state().rows[kTile] > 0);
        std::memset(state().bytes[kTile], 0, sizeof state().bytes[kTile]);
    }
    template <int kTile>
    static void load(const void* from, std::ptrdiff_t stride) {
        zero<kTile>();
        for (std::int32_t r = 0; r < state().rows[kTile]; ++r)
            std::memcpy(state().bytes[kTile][r], static_cast<const char*>(from) + r * stride,
                        static_cast<std::size_t>(state().row_bytes[kTile]));
    }
    template <int kTile>
    static void store(void* to, std::ptrdiff_t stride) {
        demand(state().configured && state().rows[kTile] > 0);
        for (std::int32_t r = 0; r < state().rows[kTile]; ++r)
            std::memcpy(static_cast<char*>(to) + r * stride, state().bytes[kTile][r],
                        static_cast<std::size_t>(state().row_bytes[kTile]));
    }
    template <int kSum, int kRows, int kWeights>
    static void add_products() {
        static_assert(kSum != kRows && kSum != kWeights && kRows != kWeights);
        State& s = state();
        demand(s.configured && s.rows[kSum] == s.rows[kRows]);
        demand(s.row_bytes[kSum] == s.row_bytes[kWeights]);
        demand(s.row_bytes[kRows] == 4 * s.rows[kWeights]);
        for (std::int32_t m = 0; m < s.rows[kSum]; ++m) {
            for (std::int32_t k = 0; k < s.row_bytes[kRows] / 4; ++k) {
                for (std::int32_t n = 0; n < s.row_bytes[kSum] / 4; ++n) {
                    std::int32_t sum = 0;
                    std::memcpy(&sum, &s.bytes[kSum][m][4 * n], sizeof sum);
                    for (std::int32_t i = 0; i < 4; ++i)
                        sum += static_cast<std::int8_t>(s.bytes[kRows][m][4 * k + i]) *
                               s.bytes[kWeights][k][4 * n + i];
                    std::memcpy(&s.bytes[kSum][m][4 * n], &sum, sizeof sum);
                }
            }
        }
    }
};

}  // namespace

#include "engine/kernels/cpu/attention_kernels.h"
#include "tests/engine/kernels/amx_model_kernels.h"

const hearth::engine::cpu::CpuKernels& hearth::engine::testing::amx_model_kernels() {
    return kKernels;
}
