// Page hashes: SHA-256 at the root, SipHash from page to page.
#include "cachenode/kv/page_hash.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string>
#include <vector>

#include "common/base/check.h"
#include "common/wire/digest.h"
#include "engine/model/kv_layout.h"

namespace hearth {
namespace {

static_assert(std::endian::native == std::endian::little, "hashed fields are little-endian");

constexpr std::uint64_t kRootTag = 0x746f'6f72'766b;  // "kvroot"
constexpr std::uint64_t kPageTag = 0x6567'6170'766b;  // "kvpage"

// SipHash-2-4 with 128 bits of output over whole words.
class SipHash {
  public:
    explicit SipHash(const PageHash& key)
        : v0_(key.low ^ 0x736f6d6570736575),
          v1_(key.high ^ 0x646f72616e646f6d ^ 0xee),
          v2_(key.low ^ 0x6c7967656e657261),
          v3_(key.high ^ 0x7465646279746573) {}

    void add(std::uint64_t word) {
        v3_ ^= word;
        round();
        round();
        v0_ ^= word;
        bytes_ += 8;
    }
    // `rest`: the last 0 to 7 bytes; its top byte is free.
    PageHash finish(std::uint64_t rest, std::uint64_t rest_bytes) {
        add(rest | ((bytes_ + rest_bytes) << 56));
        PageHash hash;
        v2_ ^= 0xee;
        for (int i = 0; i < 4; ++i) round();
        hash.low = v0_ ^ v1_ ^ v2_ ^ v3_;
        v1_ ^= 0xdd;
        for (int i = 0; i < 4; ++i) round();
        hash.high = v0_ ^ v1_ ^ v2_ ^ v3_;
        return hash;
    }

  private:
    void round() {
        v0_ += v1_;
        v1_ = std::rotl(v1_, 13) ^ v0_;
        v0_ = std::rotl(v0_, 32);
        v2_ += v3_;
        v3_ = std::rotl(v3_, 16) ^ v2_;
        v0_ += v3_;
        v3_ = std::rotl(v3_, 21) ^ v0_;
        v2_ += v1_;
        v1_ = std::rotl(v1_, 17) ^ v2_;
        v2_ = std::rotl(v2_, 32);
    }
    std::uint64_t v0_, v1_, v2_, v3_;
    std::uint64_t bytes_ = 0;
};

// The published vectors, as docs/kv-page-format.md has them.
struct Vector {
    std::uint64_t fingerprint;
    std::string_view salt;
    std::size_t tokens;  // Ids 0, 1000, 2000, ... in pages of 64.
    PageHash hash;
};
constexpr std::array<Vector, 4> kVectors = {{
    {42, "", 0, {0xfb319f733f15eead, 0xf4c364e4b20f3cf7}},
    {42, "tenant", 0, {0xb248d37ce9ac13ce, 0x85667caa788eb9fd}},
    {42, "tenant", 3, {0x25a17f6cf363b902, 0x487d26fa7128ae7c}},
    {42, "tenant", 130, {0x19309d3caa7aea76, 0x9202bc46bde2f96b}},
}};

PageHash hash_of(const Vector& vector) {
    std::vector<engine::TokenId> ids;
    for (std::size_t i = 0; i < vector.tokens; ++i) {
        ids.push_back(static_cast<engine::TokenId>(1000 * i));
    }
    PageHash hash = root_hash(vector.fingerprint, vector.salt);
    for (std::span<const engine::TokenId> rest = ids; !rest.empty();) {
        const std::size_t count = std::min<std::size_t>(rest.size(), engine::kPageTokens);
        hash = chain_hash(hash, rest.first(count));
        rest = rest.subspan(count);
    }
    return hash;
}

}  // namespace

PageHash root_hash(std::uint64_t model_fingerprint, std::string_view salt) {
    const std::array<std::uint64_t, 4> head = {kRootTag, kPageFormat, model_fingerprint,
                                               salt.size()};
    Sha256 sha;
    sha.add({reinterpret_cast<const char*>(head.data()), sizeof(head)});
    sha.add(salt);
    const Sha256::Digest digest = sha.digest();
    PageHash hash;
    std::memcpy(&hash.low, digest.data(), sizeof(hash.low));
    std::memcpy(&hash.high, digest.data() + sizeof(hash.low), sizeof(hash.high));
    return hash;
}

PageHash chain_hash(const PageHash& before, std::span<const engine::TokenId> tokens) {
    CHECK(!tokens.empty() && tokens.size() <= engine::kPageTokens);
    static_assert(sizeof(engine::TokenId) == 4);
    SipHash sip(before);
    sip.add(kPageTag);
    sip.add(kPageFormat);
    sip.add(tokens.size());
    const std::size_t pairs = tokens.size() / 2;
    for (std::size_t i = 0; i < pairs; ++i) {
        std::uint64_t word = 0;
        std::memcpy(&word, tokens.data() + 2 * i, sizeof(word));
        sip.add(word);
    }
    if (tokens.size() % 2 == 0) return sip.finish(0, 0);
    return sip.finish(static_cast<std::uint32_t>(tokens.back()), 4);
}

std::uint64_t page_format_probe() {
    std::uint64_t probe = kPageFormat;
    for (const Vector& vector : kVectors) probe = std::rotl(probe, 7) ^ hash_of(vector).low;
    return probe;
}

Result<void> check_page_format() {
    for (const Vector& vector : kVectors) {
        if (hash_of(vector) == vector.hash) continue;
        return make_error(ErrorCode::kCorrupt,
                          "this build names KV pages wrongly (test vector of " +
                              std::to_string(vector.tokens) + " tokens)");
    }
    return {};
}

}  // namespace hearth
