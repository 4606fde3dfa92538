// hearth key: makes an API key, or hashes one, for a tenant of the router.
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>

#include "cli/commands.h"
#include "common/wire/api_key.h"

namespace hearth::cli {
namespace {

int print_new() {
    const std::string key = fresh_api_key();
    std::printf("key:  %s\nhash: %s\n", key.c_str(), format_key_hash(hash_api_key(key)).c_str());
    return 0;
}

int print_hash(std::string key) {
    if (key.empty() || key == "-") std::getline(std::cin, key);
    while (!key.empty() && (key.back() == '\r' || key.back() == '\n')) key.pop_back();
    if (key.empty() || key.size() > kApiKeyBytesMax) {
        std::fprintf(stderr, "hearth key hash: a key has 1 to %zu bytes\n", kApiKeyBytesMax);
        return 1;
    }
    std::printf("%s\n", format_key_hash(hash_api_key(key)).c_str());
    return 0;
}

}  // namespace

void add_key(CLI::App& app, int& exit_code) {
    CLI::App* key = app.add_subcommand("key", "API keys of the router's tenants");
    key->require_subcommand(1);
    key->footer("Examples:\n  hearth key new\n  hearth key hash < key.txt");
    CLI::App* fresh =
        key->add_subcommand("new", "A new key for the client, its hash for the config");
    fresh->callback([&exit_code] { exit_code = print_new(); });
    const auto given = std::make_shared<std::string>();
    CLI::App* hash = key->add_subcommand("hash", "The hash of a key that exists already");
    hash->add_option("key", *given, "The key; left out or '-' = one line of standard input");
    hash->footer(
        "The config holds SHA-256 without salt, which is safe only for long random keys.\n"
        "Example:\n  hearth key hash < key.txt");
    hash->callback([given, &exit_code] { exit_code = print_hash(*given); });
}

}  // namespace hearth::cli
