// Session keys: HMAC-SHA-256 over length-prefixed parts, cut to 128 bits.
#include "common/wire/session_key.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "common/base/check.h"

namespace hearth {
namespace {

void append_part(std::string& out, std::string_view part) {
    const std::uint64_t size = part.size();
    for (int shift = 56; shift >= 0; shift -= 8) out += static_cast<char>((size >> shift) & 0xff);
    out += part;
}

std::uint64_t big_endian(const unsigned char* bytes) {
    std::uint64_t value = 0;
    for (int i = 0; i < 8; ++i) value = (value << 8) | bytes[i];
    return value;
}

SessionKey mac_of(std::string_view secret, std::string_view message) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    // An empty key needs a non-null pointer.
    const char* key = secret.empty() ? "" : secret.data();
    CHECK(HMAC(EVP_sha256(), key, static_cast<int>(secret.size()),
               reinterpret_cast<const unsigned char*>(message.data()), message.size(), digest,
               &size) != nullptr);
    CHECK(size == 32);
    return {big_endian(digest), big_endian(digest + 8)};
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
    static const char kDigits[] = "0123456789abcdef";
    std::string out;
    for (const std::uint64_t half : {high, low})
        for (int shift = 60; shift >= 0; shift -= 4) out += kDigits[(half >> shift) & 15];
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

SessionKey derive_session_key(std::string_view secret, std::string_view tenant, KeySource source,
                              std::string_view value) {
    CHECK(!value.empty() && value.size() <= kRawKeyBytesMax);
    std::string message;
    append_part(message, tenant);
    append_part(message, to_string(source));
    append_part(message, value);
    return mac_of(secret, message);
}

std::string derive_tenant_salt(std::string_view secret, std::string_view tenant) {
    std::string message;
    append_part(message, "tenant salt");  // Two parts: no session key's message is like it.
    append_part(message, tenant);
    return mac_of(secret, message).hex();
}

}  // namespace hearth
