// host_block.h: a kernel's block run by loops, and unkindly: threads in either order, copies to
// shared memory as early or as late as they may come. Instructions are what the PTX ISA says.
#pragma once

#include <cmath>
#include <cstring>
#include <deque>
#include <vector>

#include "common/base/check.h"
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

    template <class F>
    void each(const F& f) {
        for (int i = 0; i < kThreads; ++i) f(temper.backwards ? kThreads - 1 - i : i);
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

    static float exp2_of(float v) { return std::exp2(v); }
    static float round_even(float v) { return std::nearbyintf(v); }
    static std::uint32_t pack_halves(float low, float high) {
        return half_bits(low) | static_cast<std::uint32_t>(half_bits(high)) << 16;
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

    std::vector<Copy> batch;
    std::deque<std::vector<Copy>> batches;
};

}  // namespace hearth::engine::cuda
