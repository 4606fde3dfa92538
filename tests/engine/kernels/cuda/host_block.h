// host_block.h: a kernel's block run by loops, and unkindly: threads in either order, copies to
// shared memory as early or as late as they may come. Instructions are what the PTX ISA says.
#pragma once

#include <cmath>
#include <cstring>
#include <deque>
#include <functional>
#include <vector>

#include "common/base/check.h"
#include "engine/kernels/cuda/machine.h"
#include "engine/kernels/cuda/mma_layout.h"

namespace hearth::engine::cuda {

struct HostTemper {
    bool backwards = false;  // Threads of a phase run from the last to the first.
    bool late = false;       // Copies ahead arrive when they are waited for, not before.
};

template <int Threads>
struct HostBlock {
    static constexpr int kThreads = Threads;

    template <class T>
    struct OwnOf {
        OwnOf() { std::memset(values, 0xcd, sizeof values); }
        T values[Threads];
        T& operator[](int t) { return values[t]; }
        const T& operator[](int t) const { return values[t]; }
    };

    std::byte* shared;
    int x, y, z;
    HostTemper temper = {};
    int consumers = 0;  // Of kernels whose other threads only load.

    template <class F>
    void each(const F& f) {
        for (int i = 0; i < active; ++i) f(temper.backwards ? active - 1 - i : i);
    }
    void sync() {}
    template <class T>
    OwnOf<T> xor_lanes(const OwnOf<T>& v, int apart) {
        OwnOf<T> out;
        for (int t = 0; t < kThreads; ++t) out[t] = v[t ^ apart];
        return out;
    }

    template <class F>
    void multiply_bytes(const F& fragments) {
        for (int warp = 0; warp < kThreads; warp += kWarp) {
            int a[16][32], b[8][32];
            std::int32_t* sums[16][8];
            for (int lane = 0; lane < kWarp; ++lane) {
                const ByteProduct p = fragments(warp + lane);
                for (int i = 0; i < 4; ++i)
                    sums[c_place(lane, i).row][c_place(lane, i).column] = &p.c[i];
                for (int i = 0; i < 16; ++i) {
                    const Place at = a_place(lane, i / 4, i % 4);
                    a[at.row][at.column] = byte_of(p.a[i / 4], i % 4);
                }
                for (int i = 0; i < 8; ++i) {
                    const Place at = b_place(lane, i / 4, i % 4);
                    b[at.column][at.row] = byte_of(p.b[i / 4], i % 4);
                }
            }
            for (int row = 0; row < 16; ++row)
                for (int column = 0; column < 8; ++column)
                    for (int k = 0; k < 32; ++k) *sums[row][column] += a[row][k] * b[column][k];
        }
    }
    template <class F>
    void multiply_halves(const F& fragments) {
        for (int warp = 0; warp < kThreads; warp += kWarp) {
            float a[16][16], b[8][16];
            float* sums[16][8];
            for (int lane = 0; lane < kWarp; ++lane) {
                const HalfProduct p = fragments(warp + lane);
                for (int i = 0; i < 4; ++i)
                    sums[c_place(lane, i).row][c_place(lane, i).column] = &p.c[i];
                for (int i = 0; i < 8; ++i) {
                    const Place at = a_place(lane, i / 2, i % 2 * 2);
                    a[at.row][at.column / 2] = half_of(p.a[i / 2], i % 2);
                }
                for (int i = 0; i < 4; ++i) {
                    const Place at = b_place(lane, i / 2, i % 2 * 2);
                    b[at.column][at.row / 2] = half_of(p.b[i / 2], i % 2);
                }
            }
            for (int row = 0; row < 16; ++row)
                for (int column = 0; column < 8; ++column)
                    for (int k = 0; k < 16; ++k) *sums[row][column] += a[row][k] * b[column][k];
        }
    }

    template <class F>
    void load_matrices(OwnOf<std::uint32_t[4]>& to, const F& row) {
        for (int t = 0; t < kThreads; ++t) {
            const int lane = t % kWarp;
            for (int matrix = 0; matrix < 4; ++matrix) {
                const std::byte* from = row(t - lane + matrix * 8 + lane / 4);
                check_aligned(from);
                std::memcpy(&to[t][matrix], from + lane % 4 * 4, 4);
            }
        }
    }
    template <class F>
    void load_transposed(OwnOf<std::uint32_t[4]>& to, const F& row) {
        for (int t = 0; t < kThreads; ++t) {
            const int lane = t % kWarp;
            for (int matrix = 0; matrix < 4; ++matrix) {
                std::uint16_t two[2];
                for (int i = 0; i < 2; ++i) {
                    const std::byte* from = row(t - lane + matrix * 8 + lane % 4 * 2 + i);
                    check_aligned(from);
                    std::memcpy(&two[i], from + lane / 4 * 2, 2);
                }
                std::memcpy(&to[t][matrix], two, 4);
            }
        }
    }

    void copy_ahead(void* to, const void* from, bool real) {
        check_aligned(to);
        check_aligned(from);
        if (temper.late) return batch.push_back({to, from, real});
        arrive({to, from, real});
    }
    void end_of_batch() {
        batches.push_back(std::move(batch));
        batch.clear();
    }
    template <int kLeft>
    void wait_batches() {
        while (batches.size() > kLeft) {
            for (const Copy& copy : batches.front()) arrive(copy);
            batches.pop_front();
        }
    }

    // The ring of hopper_block.h: barriers count phases as mbarriers do. The thread that loads is
    // as far ahead as they let it, or loads at the last moment; products are made when they are
    // waited for, from what lies in the stage by then.
    template <int kStages, class Produce, class Consume, class Finish>
    void pipeline(std::byte*, int turns, unsigned bytes, const Produce& produce,
                  const Consume& consume, const Finish& finish) {
        int full[kStages] = {}, empty[kStages] = {}, loaded = 0;
        const auto passes = [](int completed, std::uint32_t parity) {
            return static_cast<std::uint32_t>(completed % 2) != parity;
        };
        const auto load_one = [&] {
            const RingTurn at = ring_turn(loaded, kStages);
            if (loaded == turns || !passes(empty[at.stage], at.empty_parity)) return false;
            expected = bytes;
            produce(loaded++, at.stage, 0u);
            CHECK_MSG(expected == 0, "tiles are not the bytes that their barrier expects");
            ++full[at.stage];
            return true;
        };
        const auto release = [&](int turn) {
            for (const std::function<void()>& product : products.front()) product();
            products.pop_front();
            ++empty[ring_turn(turn, kStages).stage];
        };
        active = consumers;
        for (int turn = 0; turn < turns; ++turn) {
            const RingTurn at = ring_turn(turn, kStages);
            while (!temper.late && load_one()) continue;
            while (!passes(full[at.stage], at.full_parity))
                CHECK_MSG(load_one(), "who loads and who multiplies wait for each other");
            products.emplace_back();
            consume(turn, at.stage);
            if (turn > 0) release(turn - 1);
        }
        if (turns > 0) release(turns - 1);
        finish();
    }
    void load_tile(std::byte* to, const TensorMap& map, int first, int row, unsigned) {
        CHECK(reinterpret_cast<std::uintptr_t>(to) % 1024 == 0);
        const auto* matrix = reinterpret_cast<const std::byte*>(map.opaque[0]);
        const auto rows = static_cast<int>(map.opaque[1]), width = static_cast<int>(map.opaque[2]);
        const auto box = static_cast<int>(map.opaque[3]);
        for (int r = 0; r < box; ++r) {
            for (int i = 0; i < kTileRowBytes; ++i) {
                const bool real = row + r < rows && first + i < width;
                to[swizzled(r, i)] =
                    real ? matrix[std::ptrdiff_t{row + r} * width + first + i] : std::byte{0};
            }
        }
        expected -= static_cast<unsigned>(box * kTileRowBytes);
    }
    template <int kN>
    void multiply_tiles(OwnOf<std::int32_t[kN / 8][4]>& sums, const std::byte* a,
                        const std::byte* b, int bytes) {
        const auto address = [this](const std::byte* p) {
            return static_cast<std::uint32_t>(p - shared);
        };
        const std::uint64_t a_tile = tile_descriptor(address(a) + static_cast<unsigned>(bytes));
        const std::uint64_t b_tile = tile_descriptor(address(b) + static_cast<unsigned>(bytes));
        products.back().push_back([this, &sums, a_tile, b_tile] {
            // Every warpgroup reads its own 64 rows of A.
            for (int t = 0; t < consumers; ++t) {
                for (int i = 0; i < kN / 2; ++i) {
                    const Place at = wgmma_place(t % 128, i);
                    const int row = t / 128 * 64 + at.row;
                    for (int k = 0; k < 32; ++k)
                        sums[t][i / 4][i % 4] +=
                            tile_byte(a_tile, row, k) * tile_byte(b_tile, at.column, k);
                }
            }
        });
    }

    static float exp2_of(float v) { return std::exp2(v); }
    static float round_even(float v) { return std::nearbyintf(v); }
    static std::uint32_t pack_halves(float low, float high) {
        return half_bits(low) | static_cast<std::uint32_t>(half_bits(high)) << 16;
    }
    static float low_half(std::uint32_t word) {
        return from_half_bits(static_cast<std::uint16_t>(word & 0xffffu));
    }
    static float high_half(std::uint32_t word) {
        return from_half_bits(static_cast<std::uint16_t>(word >> 16));
    }
    template <int kOdd>
    static std::uint32_t halves_of_bytes(std::uint32_t word) {
        return pack_halves(static_cast<float>(byte_of(word, kOdd)),
                           static_cast<float>(byte_of(word, 2 + kOdd)));
    }
    static int fetch_add(int* counter, int n) {
        *counter += n;
        return *counter - n;
    }
    static std::int32_t load_shared_between_blocks(const std::int32_t* from) { return *from; }
    static void publish() {}

    static int byte_of(std::uint32_t word, int byte) {
        return static_cast<std::int8_t>(word >> 8 * byte & 255u);
    }
    static float half_of(std::uint32_t word, int half) {
        return from_half_bits(static_cast<std::uint16_t>(word >> 16 * half));
    }

  private:
    struct Copy {
        void* to;
        const void* from;
        bool real;
    };
    static void arrive(const Copy& copy) {
        if (copy.real) {
            std::memcpy(copy.to, copy.from, 16);
        } else {
            std::memset(copy.to, 0, 16);
        }
    }
    static void check_aligned(const void* p) {
        CHECK(reinterpret_cast<std::uintptr_t>(p) % 16 == 0);
    }

    // Byte `k` of a row as the tensor core finds it by a descriptor with a swizzle of 128 bytes.
    int tile_byte(std::uint64_t descriptor, int row, int k) const {
        const auto start = static_cast<std::uint32_t>(descriptor & 0x3fffu) << 4;
        const auto apart = static_cast<std::uint32_t>(descriptor >> 32 & 0x3fffu) << 4;
        CHECK(descriptor >> 62 == 1);
        std::uint32_t at = start + static_cast<std::uint32_t>(row / 8) * apart +
                           static_cast<std::uint32_t>(row % 8 * kTileRowBytes + k);
        at ^= (at >> 7 & 7u) << 4;
        return static_cast<std::int8_t>(shared[at]);
    }

    int active = Threads;
    unsigned expected = 0;
    std::deque<std::vector<std::function<void()>>> products;
    std::vector<Copy> batch;
    std::deque<std::vector<Copy>> batches;
};

}  // namespace hearth::engine::cuda
