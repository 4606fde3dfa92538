// PageHash: the name of a page's content and of everything in front of it, under one tenant's salt.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "common/base/result.h"
#include "engine/model/config.h"

namespace hearth {

// 128 bits, the same on every node. Not a proof of equality: token ids are compared on every hit.
struct PageHash {
    std::uint64_t high = 0, low = 0;
    auto operator<=>(const PageHash&) const = default;
};

// Part of every hash; a node that names pages otherwise must count it up.
constexpr std::uint64_t kPageFormat = 2;

// The root stands for an empty sequence of one model under one salt: the first 128 bits of SHA-256
// over little-endian fields: tag, format, fingerprint, length of the salt, salt.
PageHash root_hash(std::uint64_t model_fingerprint, std::string_view salt);
// SipHash-2-4-128 (Aumasson, Bernstein 2012) over tag, format, number of ids, ids, under the hash
// `before` as its key. So whoever does not know a tenant's salt can neither name its pages nor make
// two of them collide. `tokens`: what one page holds, 1 to 64 ids. A part of a page never hashes
// like a whole one. Test vectors: docs/kv-page-format.md.
PageHash chain_hash(const PageHash& before, std::span<const engine::TokenId> tokens);

// One number for "names pages as we do", over the published test vectors: peers compare it before
// they exchange pages. A node whose build gets its own vectors wrong must not start.
std::uint64_t page_format_probe();
Result<void> check_page_format();

}  // namespace hearth

template <>
struct std::hash<hearth::PageHash> {
    std::size_t operator()(const hearth::PageHash& h) const noexcept { return h.low; }
};
