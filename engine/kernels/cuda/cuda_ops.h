// cuda_ops.h: the ops of ops.h that exist on CUDA so far. Every pointer is to device memory.
#pragma once

#include <cstdint>

#include "engine/kernels/ops.h"

namespace hearth::engine::cuda {

// Rotated int8 weights as rotate_row() makes them, row-major.
struct Matrix {
    const std::int8_t* q = nullptr;  // [rows][width], 16-byte aligned
    const float* scale = nullptr;    // [rows]
    std::int32_t rows = 0;           // Output channels, a multiple of kRowFloats.
    std::int32_t width = 0;          // Input channels, a multiple of kRowBytes.
};

// Widest row of the quantising kernels: a row lies in the 48 KiB of shared memory that every launch
// may have, beside less than 256 bytes of the kernels' own.
constexpr std::int32_t kWidestRow = 12224;

// As Backend's ops of the same names; asynchronous, in order. synchronize() tells of errors.
void norm_quantize(const Backend::Norm& norm, const float* x, std::int32_t rows, QuantRows out);
void quantize(const float* x, std::int32_t stride, std::int32_t rows, QuantRows out);
void matmul(const QuantRows& x, std::int32_t rows, const Matrix& w, const MatmulOut& out);

}  // namespace hearth::engine::cuda
