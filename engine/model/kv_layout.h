// KvLayout: where each K and V of a page lies, the same on device, host, disk and wire.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/model/config.h"

namespace hearth::engine {

constexpr std::int32_t kPageTokens = 64;

// A page holds 64 consecutive tokens of one sequence, all banks. Per (bank, head), in this order:
//   K int8 [64][head_dim] | V int8 [64][head_dim] | K scale float [64] | V scale float [64]
// value = int8 * scale, one scale per token, bank and head. Every block starts 64-byte aligned
// when head_dim is a multiple of 1 (64 * head_dim is a multiple of 64) and the page itself is.
struct KvLayout {
    std::int32_t banks = 0;
    std::int32_t kv_heads = 0;
    std::int32_t head_dim = 0;

    static KvLayout of(const ModelConfig& c) { return {c.kv_banks, c.kv_heads, c.head_dim}; }

    std::size_t head_bytes() const {
        return 2u * kPageTokens * (static_cast<std::size_t>(head_dim) + sizeof(float));
    }
    std::size_t page_bytes() const {
        return head_bytes() * static_cast<std::size_t>(kv_heads) * static_cast<std::size_t>(banks);
    }
    double bytes_per_token() const { return static_cast<double>(page_bytes()) / kPageTokens; }

    // Byte offset of the block of (bank, head) in a page; the four parts follow each other.
    std::size_t block(std::int32_t bank, std::int32_t head) const {
        const auto index = static_cast<std::size_t>(bank) * static_cast<std::size_t>(kv_heads) +
                           static_cast<std::size_t>(head);
        return index * head_bytes();
    }
    std::size_t k_offset(std::int32_t bank, std::int32_t head) const { return block(bank, head); }
    std::size_t v_offset(std::int32_t bank, std::int32_t head) const {
        return block(bank, head) + static_cast<std::size_t>(kPageTokens) * head_dim;
    }
    std::size_t k_scale_offset(std::int32_t bank, std::int32_t head) const {
        return block(bank, head) + 2u * static_cast<std::size_t>(kPageTokens) * head_dim;
    }
    std::size_t v_scale_offset(std::int32_t bank, std::int32_t head) const {
        return k_scale_offset(bank, head) + kPageTokens * sizeof(float);
    }
};

}  // namespace hearth::engine
