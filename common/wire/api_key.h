// API keys: how one is made, what is kept of it, and which of many hashes it matches.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/wire/digest.h"

namespace hearth {

// What is stored of a key. A plain SHA-256 is enough because a key is 256 random bits: there is no
// dictionary to try (unlike with passwords).
using ApiKeyHash = Sha256::Digest;

constexpr std::size_t kApiKeyBytesMax = 512;

// "hk-" and 64 hex digits, from the system's random generator.
std::string fresh_api_key();

ApiKeyHash hash_api_key(std::string_view key);

// "sha256:" and 64 lower-case hex digits, as configuration files hold it.
std::string format_key_hash(const ApiKeyHash& hash);
Result<ApiKeyHash> parse_key_hash(std::string_view text);

// The place of `key`'s hash among `known`. Takes the same time whether and wherever it matches.
std::optional<std::size_t> find_key(std::string_view key, const std::vector<ApiKeyHash>& known);

}  // namespace hearth
