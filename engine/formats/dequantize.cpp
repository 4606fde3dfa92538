// Block formats of GGUF (ggml's block_q*): one decoder per type, plain loops over bytes.
#include "engine/formats/dequantize.h"

#include <bit>
#include <cstring>

#include "common/base/check.h"

namespace hearth::engine {

static_assert(std::endian::native == std::endian::little, "model files are little-endian");

namespace {

std::uint32_t byte_at(const std::byte* p, std::int64_t i) {
    return std::to_integer<std::uint32_t>(p[i]);
}

std::int32_t low(std::uint32_t byte) {
    return static_cast<std::int32_t>(byte & 15u);
}
std::int32_t high(std::uint32_t byte) {
    return static_cast<std::int32_t>(byte >> 4);
}

template <typename T>
T load(const std::byte* p) {
    T value;
    std::memcpy(&value, p, sizeof value);
    return value;
}

float load_half(const std::byte* p) {
    return half_to_float(load<std::uint16_t>(p));
}

// half d | 16 bytes; byte j holds elements j (low nibble) and j + 16 (high); x = d (q - 8).
void decode_q4_0(const std::byte* block, float* out) {
    const float d = load_half(block);
    for (int j = 0; j < 16; ++j) {
        const std::uint32_t q = byte_at(block, 2 + j);
        out[j] = d * static_cast<float>(low(q) - 8);
        out[j + 16] = d * static_cast<float>(high(q) - 8);
    }
}

// half d | half m | 16 bytes as above; x = d q + m.
void decode_q4_1(const std::byte* block, float* out) {
    const float d = load_half(block);
    const float m = load_half(block + 2);
    for (int j = 0; j < 16; ++j) {
        const std::uint32_t q = byte_at(block, 4 + j);
        out[j] = d * static_cast<float>(low(q)) + m;
        out[j + 16] = d * static_cast<float>(high(q)) + m;
    }
}

// half d | 32 fifth bits | 16 bytes as above; x = d (q - 16).
void decode_q5_0(const std::byte* block, float* out) {
    const float d = load_half(block);
    const auto fifth = load<std::uint32_t>(block + 2);
    for (int j = 0; j < 16; ++j) {
        const std::uint32_t q = byte_at(block, 6 + j);
        const auto bit0 = static_cast<std::int32_t>((fifth >> j) & 1u);
        const auto bit1 = static_cast<std::int32_t>((fifth >> (j + 16)) & 1u);
        out[j] = d * static_cast<float>((low(q) | bit0 << 4) - 16);
        out[j + 16] = d * static_cast<float>((high(q) | bit1 << 4) - 16);
    }
}

// half d | 32 int8; x = d q.
void decode_q8_0(const std::byte* block, float* out) {
    const float d = load_half(block);
    for (int j = 0; j < 32; ++j)
        out[j] = d * static_cast<float>(static_cast<std::int8_t>(byte_at(block, 2 + j)));
}

// half d | half dmin | 12 bytes: eight 6-bit scales and eight 6-bit minima | 128 bytes of nibbles.
// Sub-block s of 32 elements: x = d scale[s] q - dmin min[s]. Of each 32 bytes the low nibbles are
// sub-block 2i and the high nibbles sub-block 2i + 1. Scales 0-3 and minima 0-3 are the low six
// bits of bytes 0-3 and 4-7; of the others the low nibbles are in bytes 8-11 (scale in the low
// half, minimum in the high half) and the top two bits in the spare bits of bytes 0-7.
void decode_q4_k(const std::byte* block, float* out) {
    const float d = load_half(block);
    const float dmin = load_half(block + 2);
    const std::byte* packed = block + 4;
    for (int s = 0; s < 8; ++s) {
        std::uint32_t scale = 0;
        std::uint32_t min = 0;
        if (s < 4) {
            scale = byte_at(packed, s) & 63u;
            min = byte_at(packed, s + 4) & 63u;
        } else {
            scale = (byte_at(packed, s + 4) & 15u) | (byte_at(packed, s - 4) >> 6) << 4;
            min = byte_at(packed, s + 4) >> 4 | (byte_at(packed, s) >> 6) << 4;
        }
        const float step = d * static_cast<float>(scale);
        const float offset = dmin * static_cast<float>(min);
        const std::byte* quants = block + 16 + 32 * (s / 2);
        for (int j = 0; j < 32; ++j) {
            const std::uint32_t q = byte_at(quants, j);
            out[32 * s + j] = step * static_cast<float>(s % 2 == 0 ? low(q) : high(q)) - offset;
        }
    }
}

// 128 bytes of low nibbles | 64 bytes of two high bits | 16 int8 scales | half d. Each half of 128
// elements uses 64 + 32 + 8 of them: element 32 k + j has its nibble in byte j + 32 (k % 2), low
// half for k < 2, its high bits at bit 2 k of byte j, and scale 2 k + j / 16; x = d scale (q - 32).
void decode_q6_k(const std::byte* block, float* out) {
    const float d = load_half(block + 208);
    for (int half = 0; half < 2; ++half) {
        const std::byte* nibbles = block + 64 * half;
        const std::byte* tops = block + 128 + 32 * half;
        const std::byte* scales = block + 192 + 8 * half;
        for (int k = 0; k < 4; ++k) {
            for (int j = 0; j < 32; ++j) {
                const std::uint32_t byte = byte_at(nibbles, j + 32 * (k % 2));
                const std::uint32_t top = (byte_at(tops, j) >> (2 * k)) & 3u;
                const std::int32_t q =
                    (k < 2 ? low(byte) : high(byte)) | static_cast<std::int32_t>(top << 4);
                const auto scale = static_cast<std::int8_t>(byte_at(scales, 2 * k + j / 16));
                out[128 * half + 32 * k + j] =
                    d * static_cast<float>(scale) * static_cast<float>(q - 32);
            }
        }
    }
}

template <typename Decode>
void decode_blocks(TensorType type, const std::byte* row, std::int64_t cols, float* out,
                   Decode decode) {
    const BlockLayout layout = *block_layout(type);
    CHECK(cols % layout.elements == 0);
    for (std::int64_t at = 0; at < cols; at += layout.elements, row += layout.bytes)
        decode(row, out + at);
}

}  // namespace

float half_to_float(std::uint16_t bits) {
    const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
    const std::uint32_t rest = bits & 0x7fffu;
    if (rest >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
    // Moved into float's fields the number is 2^112 too small, subnormal or not; the product is
    // exact.
    const float magnitude = std::bit_cast<float>(rest << 13) * 0x1.0p112f;
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
}

void dequantize_row(TensorType type, const std::byte* row, std::int64_t cols, float* out) {
    switch (type) {
        case TensorType::kF32:
            std::memcpy(out, row, static_cast<std::size_t>(cols) * sizeof(float));
            return;
        case TensorType::kF16:
            for (std::int64_t i = 0; i < cols; ++i) out[i] = load_half(row + 2 * i);
            return;
        case TensorType::kBF16:
            for (std::int64_t i = 0; i < cols; ++i)
                out[i] = std::bit_cast<float>(
                    static_cast<std::uint32_t>(load<std::uint16_t>(row + 2 * i)) << 16);
            return;
        case TensorType::kQ4_0: return decode_blocks(type, row, cols, out, decode_q4_0);
        case TensorType::kQ4_1: return decode_blocks(type, row, cols, out, decode_q4_1);
        case TensorType::kQ5_0: return decode_blocks(type, row, cols, out, decode_q5_0);
        case TensorType::kQ8_0: return decode_blocks(type, row, cols, out, decode_q8_0);
        case TensorType::kQ4_K: return decode_blocks(type, row, cols, out, decode_q4_k);
        case TensorType::kQ6_K: return decode_blocks(type, row, cols, out, decode_q6_k);
    }
    CHECK_MSG(false, "tensor type was not validated");
}

}  // namespace hearth::engine
