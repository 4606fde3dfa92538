// Page hashes: XXH3 over a small buffer that says what it holds.
#include "cachenode/kv/page_hash.h"

#include <xxhash.h>

#include <array>
#include <bit>
#include <cstring>
#include <string>

#include "common/base/check.h"
#include "common/base/rng.h"
#include "engine/model/kv_layout.h"

namespace hearth {
namespace {

static_assert(std::endian::native == std::endian::little, "hashed fields are little-endian");

constexpr std::uint64_t kRootTag = 0x01'746f6f72'6b76ULL;  // "kvroot", version 1
constexpr std::uint64_t kPageTag = 0x01'65676170'6b76ULL;  // "kvpage", version 1

PageHash from(const XXH128_hash_t& hash) {
    return {hash.high64, hash.low64};
}

}  // namespace

PageHash root_hash(std::uint64_t model_fingerprint, std::string_view salt) {
    const std::array<std::uint64_t, 3> head = {kRootTag, model_fingerprint, salt.size()};
    std::string bytes(reinterpret_cast<const char*>(head.data()), sizeof(head));
    bytes += salt;
    return from(XXH3_128bits_withSeed(bytes.data(), bytes.size(), mix64(model_fingerprint)));
}

PageHash chain_hash(const PageHash& before, std::span<const engine::TokenId> tokens) {
    CHECK(!tokens.empty() && tokens.size() <= engine::kPageTokens);
    constexpr std::size_t kHead = 4 * sizeof(std::uint64_t);
    std::array<char, kHead + engine::kPageTokens * sizeof(engine::TokenId)> bytes;
    const std::array<std::uint64_t, 4> head = {kPageTag, before.high, before.low, tokens.size()};
    std::memcpy(bytes.data(), head.data(), kHead);
    std::memcpy(bytes.data() + kHead, tokens.data(), tokens.size_bytes());
    return from(XXH3_128bits_withSeed(bytes.data(), kHead + tokens.size_bytes(),
                                      mix64(before.high ^ before.low)));
}

}  // namespace hearth
