// simt.h: what a kernel's body is written over: a block of threads on a device, loops on the host.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define HEARTH_BOTH __host__ __device__ inline
#define HEARTH_KERNEL __device__ __forceinline__
#define HEARTH_UNROLL _Pragma("unroll")
#else
#define HEARTH_BOTH inline
#define HEARTH_KERNEL inline
#define HEARTH_UNROLL
#endif

namespace hearth::engine::cuda {

constexpr int kWarp = 32;
constexpr float kNoScore = -INFINITY;  // Of what must not be attended.
constexpr float kLeastScore = -3e38f;

// How many blocks a kernel runs in, and the bytes of shared memory of each.
struct Grid {
    int x = 1, y = 1, z = 1;
    std::size_t shared = 0;
};

// Fragments of one thread for the warp's products; what lies where is said in mma_layout.h.
struct ByteProduct {  // c += a b: 16 x 32 by 32 x 8 int8, exact in int32.
    std::int32_t (&c)[4];
    const std::uint32_t (&a)[4];
    std::uint32_t b[2];
};
struct HalfProduct {  // c += a b: 16 x 16 by 16 x 8 of half precision, summed in float.
    float (&c)[4];
    const std::uint32_t (&a)[4];
    std::uint32_t b[2];
};

// A kernel is a struct of arguments with
//     static constexpr int kThreads;  template <class B> HEARTH_KERNEL void run(B& block) const;
// Its body works in phases: block.each(f) calls f(thread) for every thread, and what a thread keeps
// from one phase to the next is an Own<B, T>. Between phases that meet in shared memory there is a
// block.sync(). So the same text is a CUDA kernel (device_block.h), and can be run by plain loops
// where there is no device (tests: host_block.h). Operations of whole warps are members of B.
template <class B, class T>
using Own = typename B::template OwnOf<T>;

// Sum of four lanes' or a warp's values, in every lane; the same tree wherever a lane stands.
template <int kFrom, int kTo = 0, class B, class T>
HEARTH_KERNEL void warp_sum(B& block, Own<B, T>& v) {
    HEARTH_UNROLL
    for (int apart = kFrom; apart > kTo; apart /= 2) {
        const Own<B, T> other = block.xor_lanes(v, apart);
        block.each([&](int t) { v[t] = v[t] + other[t]; });
    }
}

template <int kFrom, class B>
HEARTH_KERNEL void warp_max(B& block, Own<B, float>& v) {
    HEARTH_UNROLL
    for (int apart = kFrom; apart > 0; apart /= 2) {
        const Own<B, float> other = block.xor_lanes(v, apart);
        block.each([&](int t) { v[t] = other[t] > v[t] ? other[t] : v[t]; });
    }
}

// Sum and maximum over a block, in every thread, by way of `shared` (a number for each warp).
template <class B, class T>
HEARTH_KERNEL void block_sum(B& block, Own<B, T>& v, T* shared) {
    warp_sum<kWarp / 2, 0, B, T>(block, v);
    block.each([&](int t) {
        if (t % kWarp == 0) shared[t / kWarp] = v[t];
    });
    block.sync();
    block.each([&](int t) {
        T sum = shared[0];
        for (int i = 1; i < B::kThreads / kWarp; ++i) sum = sum + shared[i];
        v[t] = sum;
    });
    block.sync();
}

template <class B>
HEARTH_KERNEL void block_max(B& block, Own<B, float>& v, float* shared) {
    warp_max<kWarp / 2>(block, v);
    block.each([&](int t) {
        if (t % kWarp == 0) shared[t / kWarp] = v[t];
    });
    block.sync();
    block.each([&](int t) {
        float most = shared[0];
        for (int i = 1; i < B::kThreads / kWarp; ++i) most = fmaxf(most, shared[i]);
        v[t] = most;
    });
    block.sync();
}

}  // namespace hearth::engine::cuda
