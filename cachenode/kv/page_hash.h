// PageHash: the name of a page's content and of everything in front of it, under one tenant's salt.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "engine/model/config.h"

namespace hearth {

// 128 bits, the same on every node. Not a proof of equality: token ids are compared on every hit.
struct PageHash {
    std::uint64_t high = 0, low = 0;
    auto operator<=>(const PageHash&) const = default;
};

// XXH3-128 (xxHash 0.8) over tagged, length-prefixed fields in little-endian. The root stands for
// an empty sequence of one model under one salt; it keys every hash that is chained from it.
PageHash root_hash(std::uint64_t model_fingerprint, std::string_view salt);
// `tokens`: what one page holds, 1 to 64 ids. A part of a page never hashes like a whole one.
PageHash chain_hash(const PageHash& before, std::span<const engine::TokenId> tokens);

}  // namespace hearth

template <>
struct std::hash<hearth::PageHash> {
    std::size_t operator()(const hearth::PageHash& h) const noexcept { return h.low; }
};
