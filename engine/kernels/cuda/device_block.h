// device_block.h: a kernel's block on a device. Included by .cu files only.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "engine/kernels/cuda/simt.h"

namespace hearth::engine::cuda {

// What simt.h calls B, for `Threads` threads. `shared` begins on a multiple of 1,024 bytes.
template <int Threads>
struct DeviceBlock {
    static constexpr int kThreads = Threads;

    // A thread's own value; a register or several.
    template <class T>
    struct OwnOf {
        T value;
        __device__ T& operator[](int) { return value; }
        __device__ const T& operator[](int) const { return value; }
    };

    std::byte* shared;
    int x, y, z;

    template <class F>
    __device__ __forceinline__ void each(const F& f) {
        f(static_cast<int>(threadIdx.x));
    }
    __device__ __forceinline__ void sync() {
        if constexpr (kThreads == kWarp) {
            __syncwarp();
        } else {
            __syncthreads();
        }
    }
    template <class T>
    __device__ __forceinline__ OwnOf<T> xor_lanes(const OwnOf<T>& v, int apart) {
        return {__shfl_xor_sync(0xffffffffu, v.value, apart)};
    }

    template <class F>
    __device__ __forceinline__ void multiply_bytes(const F& fragments) {
        const ByteProduct p = fragments(static_cast<int>(threadIdx.x));
        asm volatile(
            "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
            "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+r"(p.c[0]), "+r"(p.c[1]), "+r"(p.c[2]), "+r"(p.c[3])
            : "r"(p.a[0]), "r"(p.a[1]), "r"(p.a[2]), "r"(p.a[3]), "r"(p.b[0]), "r"(p.b[1]));
    }
    template <class F>
    __device__ __forceinline__ void multiply_halves(const F& fragments) {
        const HalfProduct p = fragments(static_cast<int>(threadIdx.x));
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
            "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(p.c[0]), "+f"(p.c[1]), "+f"(p.c[2]), "+f"(p.c[3])
            : "r"(p.a[0]), "r"(p.a[1]), "r"(p.a[2]), "r"(p.a[3]), "r"(p.b[0]), "r"(p.b[1]));
    }

    // Four matrices of 8 rows of 16 bytes: lane l points at row l % 8 of matrix l / 8.
    template <class F>
    __device__ __forceinline__ void load_matrices(OwnOf<std::uint32_t[4]>& to, const F& row) {
        const auto at =
            static_cast<unsigned>(__cvta_generic_to_shared(row(static_cast<int>(threadIdx.x))));
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(to.value[0]), "=r"(to.value[1]), "=r"(to.value[2]), "=r"(to.value[3])
                     : "r"(at)
                     : "memory");
    }
    template <class F>
    __device__ __forceinline__ void load_transposed(OwnOf<std::uint32_t[4]>& to, const F& row) {
        const auto at =
            static_cast<unsigned>(__cvta_generic_to_shared(row(static_cast<int>(threadIdx.x))));
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(to.value[0]), "=r"(to.value[1]), "=r"(to.value[2]), "=r"(to.value[3])
                     : "r"(at)
                     : "memory");
    }

    // Sixteen bytes to shared memory, behind the threads' backs; zeros if not `real`.
    __device__ __forceinline__ void copy_ahead(void* to, const void* from, bool real) {
        const auto at = static_cast<unsigned>(__cvta_generic_to_shared(to));
        const int bytes = real ? 16 : 0;
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from),
                     "r"(bytes)
                     : "memory");
    }
    __device__ __forceinline__ void end_of_batch() {
        asm volatile("cp.async.commit_group;" ::: "memory");
    }
    // Until all but the last kLeft batches of this thread have arrived.
    template <int kLeft>
    __device__ __forceinline__ void wait_batches() {
        asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
    }

    // 2 units in the last place.
    __device__ static __forceinline__ float exp2_of(float x) {
        float y;
        asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
        return y;
    }
    __device__ static __forceinline__ float round_even(float x) { return rintf(x); }
    // `low` and `high` as half precision in one word.
    __device__ static __forceinline__ std::uint32_t pack_halves(float low, float high) {
        const __half2 h = __floats2half2_rn(low, high);
        return *reinterpret_cast<const std::uint32_t*>(&h);
    }
    __device__ static __forceinline__ float low_half(std::uint32_t word) {
        return __low2float(*reinterpret_cast<const __half2*>(&word));
    }
    __device__ static __forceinline__ float high_half(std::uint32_t word) {
        return __high2float(*reinterpret_cast<const __half2*>(&word));
    }
    // Bytes kOdd and 2 + kOdd of a word, signed, as half precision: 1024 + (byte + 128) is spelled
    // by its bits, and 1152 taken off again.
    template <int kOdd>
    __device__ static __forceinline__ std::uint32_t halves_of_bytes(std::uint32_t word) {
        const std::uint32_t bits = (word >> 8 * kOdd & 0x00ff00ffu) ^ 0x64806480u;
        const __half2 h = __hsub2(*reinterpret_cast<const __half2*>(&bits),
                                  __half2half2(__ushort_as_half(0x6480)));
        return *reinterpret_cast<const std::uint32_t*>(&h);
    }
    // Adds to a counter in device memory that other blocks see; returns what it was before.
    __device__ static __forceinline__ int fetch_add(int* counter, int n) {
        return atomicAdd(counter, n);
    }
    // A number that another block wrote in this launch: not from the cache of this multiprocessor.
    __device__ static __forceinline__ std::int32_t load_shared_between_blocks(
        const std::int32_t* from) {
        return __ldcg(from);
    }
    // What this thread wrote is seen by other blocks before what it writes after.
    __device__ static __forceinline__ void publish() { __threadfence(); }
};

}  // namespace hearth::engine::cuda
