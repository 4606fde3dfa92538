// Which settings a running router follows, and how they are read again.
#include "router/admin/reload.h"

#include <algorithm>
#include <array>

#include "common/wire/digest.h"

namespace hearth {
namespace {

// Read from the snapshot at each use, or anew at each reload; everything else counts at the start
// only.
constexpr std::array<std::string_view, 28> kLive = {"body_bytes_max",
                                                    "drain_delay_ms",
                                                    "drain_grace_ms",
                                                    "expose_route",
                                                    "first_byte_timeout_ms",
                                                    "forward_authorization",
                                                    "health_interval_ms",
                                                    "heartbeat_ms",
                                                    "idle_stream_timeout_ms",
                                                    "in_flight_max",
                                                    "log_level",
                                                    "membership_refresh_ms",
                                                    "queue_max",
                                                    "queue_timeout_ms",
                                                    "retry_foreign",
                                                    "scale_up_idle_ms",
                                                    "session_from_user",
                                                    "spill_margin_ms",
                                                    "tenants",
                                                    "tls_cert",
                                                    "tls_client_auth",
                                                    "tls_client_ca",
                                                    "tls_key",
                                                    "upstream_api_key",
                                                    "upstream_ca",
                                                    "upstream_cert",
                                                    "upstream_key",
                                                    "upstream_server_name"};

bool is_live(std::string_view name) {
    return std::find(kLive.begin(), kLive.end(), name) != kLive.end();
}

std::string fingerprint_of(const LoadedConfig& loaded) {
    Sha256 sha;
    for (const Options::Setting& setting : loaded.settings) {
        sha.add(setting.name + "=" + setting.value);
        sha.add(std::string_view("\n"));
    }
    // Settings say of a secret only that it is set.
    for (const std::string* secret : {&loaded.config.session_secret, &loaded.config.redis.password,
                                      &loaded.config.redis.sentinel_password,
                                      &loaded.config.upstream_api_key, &loaded.config.admin_token})
        sha.add(std::to_string(secret->size()) + ":" + *secret);
    constexpr std::string_view kDigits = "0123456789abcdef";
    const Sha256::Digest digest = sha.digest();
    std::string hex;
    for (std::size_t i = 0; i < 8; ++i) {
        hex += kDigits[digest[i] >> 4];
        hex += kDigits[digest[i] & 15];
    }
    return hex;
}

const std::string* value_of(const std::vector<Options::Setting>& settings,
                            const std::string& name) {
    for (const Options::Setting& setting : settings)
        if (setting.name == name) return &setting.value;
    return nullptr;
}

}  // namespace

ConfigSource config_source(int argc, const char* const* argv) {
    return [argc, argv]() -> Result<LoadedConfig> {
        LoadedConfig loaded;
        Options options("hearth-router", "", {});
        loaded.config.declare(options);
        if (auto read = options.read(argc, argv); !read) return read.error();
        loaded.settings = options.settings();
        loaded.log_level = options.log_level();
        loaded.fingerprint = fingerprint_of(loaded);
        return loaded;
    };
}

ReloadReport compare(const LoadedConfig& before, const LoadedConfig& after) {
    ReloadReport report;
    const auto note = [&report](const std::string& name) {
        report.changed.push_back(name);
        if (!is_live(name)) report.needs_restart.push_back(name);
    };
    for (const Options::Setting& setting : after.settings) {
        const std::string* old = value_of(before.settings, setting.name);
        if (old == nullptr || *old != setting.value) note(setting.name);
    }
    const auto secret = [&](const char* name, const std::string& a, const std::string& b) {
        const bool listed =
            std::find(report.changed.begin(), report.changed.end(), name) != report.changed.end();
        if (a != b && !listed) note(name);
    };
    secret("session_secret", before.config.session_secret, after.config.session_secret);
    secret("redis_password", before.config.redis.password, after.config.redis.password);
    secret("redis_sentinel_password", before.config.redis.sentinel_password,
           after.config.redis.sentinel_password);
    secret("upstream_api_key", before.config.upstream_api_key, after.config.upstream_api_key);
    secret("admin_token", before.config.admin_token, after.config.admin_token);
    return report;
}

}  // namespace hearth
