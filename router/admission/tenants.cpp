// Reads a tenant's entry of the configuration, field by field.
#include "router/admission/tenants.h"

#include <set>

#include "common/config/values.h"

namespace hearth {
namespace {

constexpr std::size_t kNameBytesMax = 64;
constexpr double kRequestsMax = 1e6;
constexpr std::int64_t kCountMax = 1'000'000'000'000;

Error bad(const std::string& field, const std::string& rule) {
    return make_error(ErrorCode::kInvalidArgument, field + ": " + rule);
}

// Names go into labels and log lines as they are.
bool is_tenant_name(std::string_view name) {
    constexpr std::string_view kCharacters =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    return !name.empty() && name.size() <= kNameBytesMax &&
           name.find_first_not_of(kCharacters) == std::string_view::npos;
}

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::size_t begin = 0;
    while (begin < text.size()) {
        const std::size_t end = std::min(text.find('\n', begin), text.size());
        if (end > begin) lines.push_back(text.substr(begin, end - begin));
        begin = end + 1;
    }
    return lines;
}

Result<void> read_keys(const std::string& text, std::vector<ApiKeyHash>& keys) {
    for (const std::string& line : lines_of(text)) {
        const auto hash = parse_key_hash(line);
        if (!hash) return bad("keys", hash.error().message);
        keys.push_back(*hash);
    }
    return {};
}

Result<void> read_count(const std::string& field, const std::string& text, std::int64_t& place) {
    const auto value = parse_integer(text);
    if (!value) return bad(field, value.error().message);
    if (*value < 0 || *value > kCountMax) return bad(field, "must be from 0 to 1000000000000");
    place = *value;
    return {};
}

Result<void> read_rate(const std::string& text, double& place) {
    const auto value = parse_number(text);
    if (!value) return bad("requests_per_second", value.error().message);
    if (*value < 0 || *value > kRequestsMax)
        return bad("requests_per_second", "must be from 0 to 1000000");
    place = *value;
    return {};
}

Result<void> read_field(const std::string& name, const std::string& text, TenantSettings& tenant) {
    if (name == "name") {
        tenant.name = text;
    } else if (name == "keys") {
        return read_keys(text, tenant.keys);
    } else if (name == "requests_per_second") {
        return read_rate(text, tenant.requests_per_second);
    } else if (name == "tokens_per_minute") {
        return read_count(name, text, tenant.tokens_per_minute);
    } else if (name == "concurrency_max") {
        return read_count(name, text, tenant.concurrency_max);
    } else if (name == "priority") {
        if (text != "interactive" && text != "batch")
            return bad(name, "must be interactive or batch");
        tenant.priority = text == "batch" ? Priority::kBatch : Priority::kInteractive;
    } else if (name == "may_choose_priority") {
        const auto value = parse_bool(text);
        if (!value) return bad(name, value.error().message);
        tenant.may_choose_priority = *value;
    } else if (name == "follow_up_bonus_s") {
        constexpr std::int64_t kDay = 86'400;
        std::int64_t value = 0;
        if (auto ok = read_count(name, text, value); !ok) return ok;
        if (value > kDay) return bad(name, "must be at most 86400");
        tenant.follow_up_bonus_s = std::to_string(value);
    } else if (name == "models") {
        tenant.models = lines_of(text);
    } else {
        return make_error(ErrorCode::kInvalidArgument,
                          "unknown field '" + name +
                              "'; a tenant has name, keys, requests_per_second, tokens_per_minute, "
                              "concurrency_max, priority, may_choose_priority, "
                              "follow_up_bonus_s and models");
    }
    return {};
}

}  // namespace

const char* to_string(Priority priority) {
    return priority == Priority::kBatch ? "batch" : "interactive";
}

Result<TenantSettings> read_tenant(const std::map<std::string, std::string>& fields) {
    TenantSettings tenant;
    for (const auto& [name, text] : fields)
        if (auto read = read_field(name, text, tenant); !read) return read.error();
    if (!is_tenant_name(tenant.name))
        return bad("name", "must be 1 to 64 letters, digits, '-', '_' or '.'");
    if (tenant.keys.empty()) return bad("keys", "must list at least one hash of a key");
    return tenant;
}

Result<void> check_tenants(const std::vector<TenantSettings>& tenants) {
    std::set<std::string> names;
    std::set<ApiKeyHash> keys;
    for (const TenantSettings& tenant : tenants) {
        if (!names.insert(tenant.name).second)
            return bad("tenants", "two tenants have the name '" + tenant.name + "'");
        for (const ApiKeyHash& key : tenant.keys)
            if (!keys.insert(key).second)
                return bad("tenants", "a key of '" + tenant.name + "' is listed twice");
    }
    return {};
}

}  // namespace hearth
