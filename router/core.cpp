// Makes the shared parts of a router.
#include "router/core.h"

#include <algorithm>
#include <array>
#include <random>
#include <utility>

#include "common/base/check.h"
#include "common/base/log.h"
#include "common/base/small_copy.h"

namespace hearth {
namespace {

using std::chrono::milliseconds;

SessionKeys::Options key_options(const RouterConfig& config) {
    SessionKeys::Options options;
    options.headers = config.session_headers;
    options.cookie = config.session_cookie;
    options.secret = session_secret_of(config);
    return options;
}

HttpClient::Options client_options(const RouterConfig& config) {
    HttpClient::Options options;
    options.connect_timeout = milliseconds(config.connect_timeout_ms);
    options.connect_hedge = milliseconds(config.connect_hedge_ms);
    options.loop_runs_on = true;
    return options;
}

std::uint64_t random_seed() {
    std::random_device device;
    return (static_cast<std::uint64_t>(device()) << 32) | device();
}

}  // namespace

RouterCore::RouterCore(asio::io_context& io, const RouterConfig& settings, MetadataStore* metadata,
                       const Clock& time)
    : config(std::make_shared<const RouterConfig>(settings)),
      store(metadata),
      clock(time),
      keys(key_options(settings)),
      client(io, client_options(settings)),
      membership(settings.nodes, settings.pools, health_rules_of(settings)),
      bindings(static_cast<std::size_t>(settings.local_bindings_max)),
      decisions(static_cast<std::size_t>(settings.decisions_kept)),
      admission(io, time, metrics),
      collector(io),
      spans(metrics),
      background(io),
      rng(random_seed()) {
    if (store != nullptr) metrics.use_store();
}

std::string RouterCore::fresh_id() {
    std::uint64_t high = rng.next(), low = rng.next();
    high = (high & ~std::uint64_t{0xf000}) | 0x4000;                     // The version.
    low = (low & ~(std::uint64_t{3} << 62)) | (std::uint64_t{2} << 62);  // The variant.
    std::array<char, 32> digits;
    put_hex(put_hex(digits.data(), high), low);
    std::string id(36, '-');
    const char* from = digits.data();
    char* to = id.data();
    for (const std::size_t group : {8, 4, 4, 4, 12}) {
        std::copy_n(from, group, to);
        from += group;
        to += group + 1;
    }
    return id;
}

Result<ReloadReport> RouterCore::reload() {
    if (!source) return make_error(ErrorCode::kInvalidArgument, "there is no file to read again");
    auto next = source();
    const double at = unix_seconds(clock);
    if (!next) {
        log::error("reload failed; the old settings stand", {{"error", next.error().message}});
        metrics.reloaded(false, at, loaded.fingerprint);
        return next.error();
    }
    const ReloadReport report = compare(loaded, *next);
    // What only counts at the start must not come into force by halves.
    next->config.session_secret = config->session_secret;
    next->config.cluster = config->cluster;
    next->config.admin_token = config->admin_token;
    auto old = std::exchange(config, std::make_shared<const RouterConfig>(next->config));
    if (auto renewed = renew_tls ? renew_tls() : Result<void>(); !renewed) {
        config = std::move(old);
        log::error("reload failed; the old settings stand", {{"error", renewed.error().message}});
        metrics.reloaded(false, at, loaded.fingerprint);
        return renewed.error();
    }
    loaded = std::move(*next);
    log::set_level(loaded.log_level);
    metrics.reloaded(true, at, loaded.fingerprint);
    log::info("settings reloaded", {{"hash", loaded.fingerprint},
                                    {"changed", report.changed.size()},
                                    {"needs_restart", report.needs_restart.size()}});
    return report;
}

Task<void> export_spans(std::shared_ptr<RouterCore> core) {
    auto url = parse_collector_url(core->config->otlp_endpoint);
    CHECK(url.ok());  // The settings were checked.
    if (url->tls) {
        auto tls = TlsContext::client({});
        if (!tls) {
            log::error("no spans will be sent", {{"error", tls.error().message}});
            co_return;
        }
        core->collector.set_tls(std::move(*tls));
    }
    co_await core->spans.run(core->background, core->collector, std::move(*url));
}

}  // namespace hearth
