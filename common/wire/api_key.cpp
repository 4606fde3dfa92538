// API keys through OpenSSL: random bytes, SHA-256, and a comparison that tells nothing by its time.
#include "common/wire/api_key.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

namespace hearth {
namespace {

constexpr std::string_view kKeyPrefix = "hk-";
constexpr std::string_view kHashPrefix = "sha256:";

std::string to_hex(const ApiKeyHash& bytes) {
    static const char kDigits[] = "0123456789abcdef";
    std::string out;
    for (const unsigned char byte : bytes) {
        out += kDigits[byte >> 4];
        out += kDigits[byte & 15];
    }
    return out;
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

}  // namespace

std::string fresh_api_key() {
    ApiKeyHash bytes{};
    CHECK(RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) == 1);
    return std::string(kKeyPrefix) + to_hex(bytes);
}

ApiKeyHash hash_api_key(std::string_view key) {
    Sha256 hash;
    hash.add(key);
    return hash.digest();
}

std::string format_key_hash(const ApiKeyHash& hash) {
    return std::string(kHashPrefix) + to_hex(hash);
}

Result<ApiKeyHash> parse_key_hash(std::string_view text) {
    const Error bad =
        make_error(ErrorCode::kInvalidArgument,
                   "a key's hash is 'sha256:' and 64 lower-case hex digits; see `hearth key hash`");
    ApiKeyHash hash{};
    if (!text.starts_with(kHashPrefix)) return bad;
    text.remove_prefix(kHashPrefix.size());
    if (text.size() != 2 * hash.size()) return bad;
    for (std::size_t i = 0; i < hash.size(); ++i) {
        const int high = hex_digit(text[2 * i]);
        const int low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0) return bad;
        hash[i] = static_cast<unsigned char>(high * 16 + low);
    }
    return hash;
}

std::optional<std::size_t> find_key(std::string_view key, const std::vector<ApiKeyHash>& known) {
    const ApiKeyHash hash = hash_api_key(key);
    std::size_t found = known.size();
    for (std::size_t i = 0; i < known.size(); ++i) {
        const bool same = CRYPTO_memcmp(hash.data(), known[i].data(), hash.size()) == 0;
        // Without a branch, so that the time is the same.
        const std::size_t mask = std::size_t{0} - static_cast<std::size_t>(same);
        found = (i & mask) | (found & ~mask);
    }
    if (found == known.size()) return std::nullopt;
    return found;
}

}  // namespace hearth
