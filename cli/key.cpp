// hearth key: makes an API key, or hashes one, for a tenant of the router.
#include <boost/json.hpp>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>

#include "cli/commands.h"
#include "common/wire/api_key.h"
#include "common/wire/json_text.h"

namespace hearth::cli {
namespace {

void print(const boost::json::object& object) {
    std::printf("%s\n", json_text(object).c_str());
}

int print_new(bool as_json) {
    const std::string key = fresh_api_key();
    const std::string hash = format_key_hash(hash_api_key(key));
    if (as_json)
        print({{"key", key}, {"hash", hash}});
    else
        std::printf("key:  %s\nhash: %s\n", key.c_str(), hash.c_str());
    return 0;
}

int print_hash(std::string key, bool as_json) {
    if (key.empty() || key == "-") std::getline(std::cin, key);
    while (!key.empty() && (key.back() == '\r' || key.back() == '\n')) key.pop_back();
    if (key.empty() || key.size() > kApiKeyBytesMax) {
        std::fprintf(stderr, "hearth key hash: a key has 1 to %zu bytes\n", kApiKeyBytesMax);
        return 1;
    }
    const std::string hash = format_key_hash(hash_api_key(key));
    if (as_json)
        print({{"hash", hash}});
    else
        std::printf("%s\n", hash.c_str());
    return 0;
}

}  // namespace

void add_key(CLI::App& app, int& exit_code) {
    CLI::App* key = app.add_subcommand("key", "API keys of the router's tenants");
    key->require_subcommand(1);
    key->footer("Examples:\n  hearth key new\n  hearth key hash < key.txt");
    CLI::App* fresh =
        key->add_subcommand("new", "A new key for the client, its hash for the config");
    const auto as_json = std::make_shared<bool>(false);
    fresh->callback([as_json, &exit_code] { exit_code = print_new(*as_json); });
    const auto given = std::make_shared<std::string>();
    CLI::App* hash = key->add_subcommand("hash", "The hash of a key that exists already");
    hash->add_option("key", *given, "The key; left out or '-' = one line of standard input");
    hash->footer(
        "The config holds SHA-256 without salt, which is safe only for long random keys.\n"
        "Example:\n  hearth key hash < key.txt");
    hash->callback([given, as_json, &exit_code] { exit_code = print_hash(*given, *as_json); });
    for (CLI::App* each : {fresh, hash}) each->add_flag("--json", *as_json, "One JSON object");
}

}  // namespace hearth::cli
