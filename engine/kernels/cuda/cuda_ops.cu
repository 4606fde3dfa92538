// cuda_ops: quantising kernels, one block per row, and the int8 matrix product on tensor cores.
// Built with -fmad=false and IEEE division: the float arithmetic is that of the cpu kernels.
#include <cuda_runtime.h>

#include "common/base/check.h"
#include "engine/kernels/cuda/cuda_ops.h"
#include "engine/kernels/rotation.h"

namespace hearth::engine::cuda {
namespace {

constexpr int kRowThreads = 128;
constexpr int kWarp = 32;

// Largest of all threads' values, the same in every thread.
__device__ float block_max(float value) {
    __shared__ float warps[kRowThreads / kWarp];
    for (int apart = kWarp / 2; apart > 0; apart /= 2)
        value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, apart));
    if (threadIdx.x % kWarp == 0) warps[threadIdx.x / kWarp] = value;
    __syncthreads();
    for (int i = 0; i < kRowThreads / kWarp; ++i) value = fmaxf(value, warps[i]);
    return value;
}

// x = H x / 8 in blocks of 64, in shared memory. Ends with all threads in step.
__device__ void rotate_shared(float* x, int width) {
    for (int half = 1; half < kRotation; half *= 2) {
        __syncthreads();
        for (int pair = threadIdx.x; pair < width / 2; pair += kRowThreads) {
            const int i = pair / half * 2 * half + pair % half;
            const float a = x[i], b = x[i + half];
            x[i] = a + b;
            x[i + half] = a - b;
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < width; i += kRowThreads) x[i] *= kRotationScale;
    __syncthreads();
}

// Rotates and quantises the row in shared memory; its end is zero up to the stride.
__device__ void quantize_shared(float* x, const QuantRows& out, int row) {
    __shared__ int total;
    if (threadIdx.x == 0) total = 0;
    rotate_shared(x, out.stride);
    float largest = 0.0f;
    for (int i = threadIdx.x; i < out.stride; i += kRowThreads)
        largest = fmaxf(largest, fabsf(x[i]));
    largest = block_max(largest);
    const bool zero = !(largest >= 1e-30f);
    const float inverse = zero ? 0.0f : 127.0f / largest;
    int sum = 0;
    for (int i = threadIdx.x; i < out.stride; i += kRowThreads) {
        const float rounded = fminf(fmaxf(rintf(x[i] * inverse), -127.0f), 127.0f);
        const int q = static_cast<int>(rounded);
        out.q[static_cast<std::size_t>(row) * out.stride + i] = static_cast<std::int8_t>(q);
        sum += q;
    }
    atomicAdd(&total, sum);
    __syncthreads();
    if (threadIdx.x == 0) {
        out.scale[row] = zero ? 0.0f : largest / 127.0f;
        out.sum[row] = total;
    }
}

__global__ void quantize_kernel(const float* x, int stride, QuantRows out) {
    extern __shared__ float shared[];
    const float* from = x + static_cast<std::size_t>(blockIdx.x) * stride;
    for (int i = threadIdx.x; i < out.stride; i += kRowThreads)
        shared[i] = i < stride ? from[i] : 0.0f;
    quantize_shared(shared, out, static_cast<int>(blockIdx.x));
}

// Sixteen partial sums and one tree, as in cpu/lanes.h.
__device__ float sum_of_squares(const float* x, int stride) {
    __shared__ float lanes[kRowFloats];
    if (threadIdx.x < kRowFloats) {
        float sum = 0.0f;
        for (int i = static_cast<int>(threadIdx.x); i < stride; i += kRowFloats) sum += x[i] * x[i];
        lanes[threadIdx.x] = sum;
    }
    __syncthreads();
    float s[4];
    for (int i = 0; i < 4; ++i) s[i] = (lanes[i] + lanes[8 + i]) + (lanes[4 + i] + lanes[12 + i]);
    return (s[0] + s[2]) + (s[1] + s[3]);
}

__global__ void norm_quantize_kernel(Backend::Norm norm, const float* x, QuantRows out) {
    extern __shared__ float shared[];
    const float* from = x + static_cast<std::size_t>(blockIdx.x) * norm.stride;
    for (int i = threadIdx.x; i < out.stride; i += kRowThreads)
        shared[i] = i < norm.stride ? from[i] : 0.0f;
    __syncthreads();
    const float mean = sum_of_squares(shared, norm.stride) / static_cast<float>(norm.width);
    const float inverse_rms = 1.0f / sqrtf(mean + norm.eps);
    for (int i = threadIdx.x; i < norm.stride; i += kRowThreads)
        shared[i] = shared[i] * inverse_rms * norm.gamma[i];
    quantize_shared(shared, out, static_cast<int>(blockIdx.x));
}

// A warp's tile is 16 rows by 64 output channels; four warps stand on each other.
constexpr int kTileRows = 16, kTiles = 8, kWarpsPerBlock = 4;

__device__ int load_word(const std::int8_t* p) {
    return *reinterpret_cast<const int*>(p);
}

// One mma.sync.m16n8k32 (PTX ISA, "Matrix fragments for mma.m16n8k32"): exact in int32.
__device__ void multiply_add(int (&c)[4], const int (&a)[4], int b0, int b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ void keep(const QuantRows& x, const Matrix& w, const MatmulOut& to, int row, int n,
                     int acc) {
    float v = static_cast<float>(acc) * x.scale[row] * w.scale[n];
    float* out = to.out + static_cast<std::size_t>(row) * to.stride + n;
    if (to.bias != nullptr) v = v + to.bias[n];
    if (to.accumulate) v = v + *out;
    *out = v;
}

__global__ void matmul_kernel(QuantRows x, int rows, Matrix w, MatmulOut to) {
    const int warp = static_cast<int>(threadIdx.x) / kWarp;
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    const int group = lane / 4, member = lane % 4;
    const int row = (static_cast<int>(blockIdx.y) * kWarpsPerBlock + warp) * kTileRows + group;
    const int first = static_cast<int>(blockIdx.x) * kTiles * 8;
    const std::int8_t* upper = x.q + static_cast<std::size_t>(row) * x.stride + member * 4;
    const std::int8_t* lower = upper + static_cast<std::size_t>(8) * x.stride;
    const bool has_upper = row < rows, has_lower = row + 8 < rows;
    int acc[kTiles][4] = {};
    for (int k = 0; k < w.width; k += 32) {
        const int a[4] = {
            has_upper ? load_word(upper + k) : 0, has_lower ? load_word(lower + k) : 0,
            has_upper ? load_word(upper + k + 16) : 0, has_lower ? load_word(lower + k + 16) : 0};
#pragma unroll
        for (int t = 0; t < kTiles; ++t) {
            const int n = first + t * 8 + group;
            if (first + t * 8 >= w.rows) break;  // The same for the whole warp.
            const std::int8_t* b = w.q + static_cast<std::size_t>(n) * w.width + k + member * 4;
            multiply_add(acc[t], a, load_word(b), load_word(b + 16));
        }
    }
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
        for (int i = 0; i < 4; ++i) {
            const int m = row + i / 2 * 8, n = first + t * 8 + member * 2 + i % 2;
            if (m < rows && n < to.width) keep(x, w, to, m, n, acc[t][i]);
        }
    }
}

}  // namespace

void quantize(const float* x, std::int32_t stride, std::int32_t rows, QuantRows out) {
    CHECK(out.stride <= kWidestRow);
    const std::size_t shared = static_cast<std::size_t>(out.stride) * sizeof(float);
    if (rows > 0)
        quantize_kernel<<<static_cast<unsigned>(rows), kRowThreads, shared>>>(x, stride, out);
}

void norm_quantize(const Backend::Norm& norm, const float* x, std::int32_t rows, QuantRows out) {
    CHECK(out.stride <= kWidestRow);
    const std::size_t shared = static_cast<std::size_t>(out.stride) * sizeof(float);
    if (rows > 0)
        norm_quantize_kernel<<<static_cast<unsigned>(rows), kRowThreads, shared>>>(norm, x, out);
}

void matmul(const QuantRows& x, std::int32_t rows, const Matrix& w, const MatmulOut& out) {
    CHECK(x.stride == w.width && w.width % kRowBytes == 0 && w.rows % kRowFloats == 0);
    CHECK(out.width <= w.rows);
    constexpr int kBlockRows = kTileRows * kWarpsPerBlock, kBlockColumns = kTiles * 8;
    const dim3 grid(static_cast<unsigned>((out.width + kBlockColumns - 1) / kBlockColumns),
                    static_cast<unsigned>((rows + kBlockRows - 1) / kBlockRows));
    if (rows > 0) matmul_kernel<<<grid, kWarp * kWarpsPerBlock>>>(x, rows, w, out);
}

}  // namespace hearth::engine::cuda
