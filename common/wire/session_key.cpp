// Session keys: HMAC-SHA-256 over length-prefixed parts, cut to 128 bits.
#include "common/wire/session_key.h"

// The plain SHA-256 functions: the EVP interface looks its algorithm up under locks for each
// digest, which takes longer than the digest.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include <cstring>
#include <string>

#include "common/base/check.h"
#include "common/base/small_copy.h"

namespace hearth {
namespace {

void add(SHA256_CTX& hash, std::string_view bytes) {
    CHECK(SHA256_Update(&hash, bytes.data(), bytes.size()) == 1);
}

void add_part(SHA256_CTX& hash, std::string_view part) {
    char size[8];
    for (int i = 0; i < 8; ++i) size[i] = static_cast<char>((part.size() >> (56 - 8 * i)) & 0xff);
    add(hash, {size, sizeof size});
    add(hash, part);
}

using Digest = std::array<char, SHA256_DIGEST_LENGTH>;

std::string_view text_of(const Digest& digest) {
    return {digest.data(), digest.size()};
}

Digest finish(SHA256_CTX& hash) {
    Digest digest;
    CHECK(SHA256_Final(reinterpret_cast<unsigned char*>(digest.data()), &hash) == 1);
    return digest;
}

SHA256_CTX fresh() {
    SHA256_CTX hash;
    CHECK(SHA256_Init(&hash) == 1);
    return hash;
}

std::uint64_t big_endian(std::string_view bytes) {
    std::uint64_t value = 0;
    for (const char c : bytes) value = (value << 8) | static_cast<unsigned char>(c);
    return value;
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

}  // namespace

const char* to_string(KeySource source) {
    switch (source) {
        case KeySource::kHeader: return "header";
        case KeySource::kCookie: return "cookie";
        case KeySource::kPromptCacheKey: return "prompt_cache_key";
        case KeySource::kConversation: return "conversation";
        case KeySource::kSessionId: return "session_id";
        case KeySource::kMetadata: return "metadata";
        case KeySource::kUser: return "user";
        case KeySource::kAnchor: return "anchor";
    }
    return "unknown";
}

std::string SessionKey::hex() const {
    const std::array<char, 32> out = digits();
    return {out.data(), out.size()};
}

std::array<char, 32> SessionKey::digits() const {
    std::array<char, 32> out;
    put_hex(put_hex(out.data(), high), low);
    return out;
}

Result<SessionKey> SessionKey::from_hex(std::string_view text) {
    if (text.size() != 32)
        return make_error(ErrorCode::kInvalidArgument, "a session key has 32 hex digits");
    SessionKey key;
    for (std::size_t i = 0; i < 32; ++i) {
        const int digit = hex_digit(text[i]);
        if (digit < 0)
            return make_error(ErrorCode::kInvalidArgument, "a session key has 32 hex digits");
        std::uint64_t& half = i < 16 ? key.high : key.low;
        half = (half << 4) | static_cast<std::uint64_t>(digit);
    }
    return key;
}

static_assert(sizeof(SHA256_CTX) <= sizeof(KeyDeriver::State));

KeyDeriver::KeyDeriver(std::string_view secret) {
    std::string key(secret);
    if (key.size() > SHA256_CBLOCK) {
        SHA256_CTX hash = fresh();
        add(hash, key);
        key = text_of(finish(hash));
    }
    key.resize(SHA256_CBLOCK, '\0');
    for (const auto& [state, pad] : {std::pair{&inner_, '\x36'}, {&outer_, '\x5c'}}) {
        std::string block = key;
        for (char& c : block) c = static_cast<char>(c ^ pad);
        SHA256_CTX hash = fresh();
        add(hash, block);
        std::memcpy(state, &hash, sizeof hash);
    }
}

SessionKey KeyDeriver::derive(std::string_view tenant, KeySource source,
                              std::string_view value) const {
    CHECK(!value.empty() && value.size() <= kRawKeyBytesMax);
    return mac({tenant, to_string(source), value});
}

SessionKey KeyDeriver::mac(std::initializer_list<std::string_view> parts) const {
    SHA256_CTX hash;
    std::memcpy(&hash, &inner_, sizeof hash);
    for (const std::string_view part : parts) add_part(hash, part);
    const Digest inner = finish(hash);
    std::memcpy(&hash, &outer_, sizeof hash);
    add(hash, text_of(inner));
    const Digest digest = finish(hash);
    return {big_endian(text_of(digest).substr(0, 8)), big_endian(text_of(digest).substr(8, 8))};
}

std::string KeyDeriver::tenant_salt(std::string_view tenant) const {
    return mac({"tenant salt", tenant}).hex();  // Two parts: no session key's message is like it.
}

}  // namespace hearth
