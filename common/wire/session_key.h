// SessionKey: 128 bits that stand for a conversation; raw client keys never go further than this.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>

#include "common/base/result.h"

namespace hearth {

enum class KeySource {
    kHeader,
    kCookie,
    kPromptCacheKey,
    kConversation,
    kSessionId,
    kMetadata,
    kUser,
    kAnchor
};
const char* to_string(KeySource source);  // "header", "cookie", "prompt_cache_key", ...

constexpr std::size_t kRawKeyBytesMax = 256;

struct SessionKey {
    std::uint64_t high = 0, low = 0;
    auto operator<=>(const SessionKey&) const = default;
    std::string hex() const;  // 32 lower-case digits.
    std::array<char, 32> digits() const;
    static Result<SessionKey> from_hex(std::string_view text);
};

// HMAC-SHA-256(secret, tenant || source || value), each part length-prefixed, cut to 128 bits
// (design §5; RFC 2104). Immutable; any thread. The two hash states that begin with the secret are
// made once.
class KeyDeriver {
  public:
    explicit KeyDeriver(std::string_view secret);

    // `value` is never empty and at most kRawKeyBytesMax (CHECKed; callers validate), save for
    // kAnchor whose value is a digest of ours.
    SessionKey derive(std::string_view tenant, KeySource source, std::string_view value) const;

    // What a node keeps one tenant's cache apart with: 32 hex digits of HMAC-SHA-256(secret,
    // tenant), so that nodes do not learn names, and nobody without the secret can guess a salt.
    std::string tenant_salt(std::string_view tenant) const;

    using State = std::array<std::uint64_t, 14>;  // OpenSSL's SHA256_CTX.

  private:
    SessionKey mac(std::initializer_list<std::string_view> parts) const;

    State inner_{}, outer_{};
};

// For one key.
inline SessionKey derive_session_key(std::string_view secret, std::string_view tenant,
                                     KeySource source, std::string_view value) {
    return KeyDeriver(secret).derive(tenant, source, value);
}
inline std::string derive_tenant_salt(std::string_view secret, std::string_view tenant) {
    return KeyDeriver(secret).tenant_salt(tenant);
}

}  // namespace hearth

template <>
struct std::hash<hearth::SessionKey> {
    std::size_t operator()(const hearth::SessionKey& k) const noexcept {
        return k.high ^ (k.low * 3);
    }
};
