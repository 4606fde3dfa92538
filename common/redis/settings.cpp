// What must hold between the settings, and what they make of the store.
#include "common/redis/settings.h"

#include "common/net/http_server.h"

namespace hearth {
namespace {

Error bad(const std::string& field, const std::string& rule) {
    return make_error(ErrorCode::kInvalidArgument, field + ": " + rule);
}

}  // namespace

Result<void> RedisSettings::check() const {
    if (!address.empty())
        if (const auto parts = split_host_port(address); !parts)
            return bad("redis", parts.error().message);
    for (const std::string& sentinel : sentinels)
        if (const auto parts = split_host_port(sentinel); !parts)
            return bad("redis_sentinels", parts.error().message);
    if (!address.empty() && !sentinels.empty())
        return bad("redis_sentinels", "they say where Redis is: leave `redis` out");
    if (!sentinels.empty() && master.empty()) return bad("redis_master", "must not be empty");
    return {};
}

Result<RedisOptions> RedisSettings::options(const std::string& cluster) const {
    RedisOptions options;
    options.address = address;
    options.sentinels = sentinels;
    options.master_name = master;
    options.sentinel_password = sentinel_password;
    options.password = password;
    options.cluster = cluster;
    if (tls) {
        auto context = TlsContext::client({ca, "", "", ""});
        if (!context) return bad("redis_ca", context.error().message);
        options.tls = std::move(*context);
    }
    return options;
}

}  // namespace hearth
