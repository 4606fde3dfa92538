// graph_buckets.h: which sizes of decode steps are recorded as graphs.
#pragma once

#include <cstdint>

namespace hearth::engine::cuda {

// A step that decodes `rows` sequences runs as one of the bucket's size; the rest of its rows are
// padding. 1, 2, 4, 8, then multiples of 8 to 64, of 16 to 128, of 32 to 256, of 64 to 512: at most
// 7 rows of padding up to 64 and a quarter above, in 23 sizes.
constexpr std::int32_t kLargestBucket = 512;
constexpr std::int32_t bucket_of(std::int32_t rows) {
    if (rows <= 2) return rows;
    if (rows <= 8) return rows <= 4 ? 4 : 8;
    const std::int32_t step = rows <= 64 ? 8 : rows <= 128 ? 16 : rows <= 256 ? 32 : 64;
    return (rows + step - 1) / step * step;
}

// Attention items grow with contexts; a graph is recorded for so many blocks, a power of two.
constexpr std::int32_t item_bucket_of(std::int32_t items) {
    std::int32_t bucket = 64;
    while (bucket < items) bucket *= 2;
    return bucket;
}

}  // namespace hearth::engine::cuda
