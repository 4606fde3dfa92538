// Makes the shared parts of a router, and runs its two loops.
#include "router/core.h"

#include <algorithm>
#include <random>
#include <utility>

#include "common/base/log.h"
#include "router/members/health.h"

namespace hearth {
namespace {

using std::chrono::milliseconds;

// A node that computes on all cores may take a while to answer anything.
constexpr milliseconds kProbeTimeoutMin{2'000};

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
    return options;
}

std::uint64_t random_seed() {
    std::random_device device;
    return (static_cast<std::uint64_t>(device()) << 32) | device();
}

Task<void> probe_node(std::shared_ptr<RouterCore> core, Member member, milliseconds timeout) {
    const HeaderList none;
    const auto answer =
        co_await core->client.call(member.record.address, "GET", "/health", none, "", timeout);
    member.status->probing = false;
    if (!answer.ok() && answer.error().code == ErrorCode::kExhausted) co_return;  // Our own lack.
    if (core->background.ending() || !note_probe(*member.status, probe_outcome(answer))) co_return;
    if (member.status->usable())
        log::info("node is up", {{"node", member.record.node_id}});
    else
        log::warn("node is down", {{"node", member.record.node_id},
                                   {"error", answer.ok() ? "HTTP " + std::to_string(answer->status)
                                                         : answer.error().message}});
}

}  // namespace

RouterCore::RouterCore(asio::io_context& io, const RouterConfig& settings, MetadataStore* metadata,
                       const Clock& time)
    : config(std::make_shared<const RouterConfig>(settings)),
      store(metadata),
      clock(time),
      keys(key_options(settings)),
      client(io, client_options(settings)),
      membership(settings.nodes),
      bindings(static_cast<std::size_t>(settings.local_bindings_max)),
      decisions(static_cast<std::size_t>(settings.decisions_kept)),
      admission(io, time, metrics),
      collector(io),
      spans(metrics),
      background(io),
      rng(random_seed()) {}

std::string RouterCore::fresh_id() {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string id;
    std::uint64_t bits = rng.next();
    for (int i = 0; i < 16; ++i, bits >>= 4) id += kDigits[bits & 15];
    return id;
}

Result<ReloadReport> RouterCore::reload() {
    if (!source) return make_error(ErrorCode::kInvalidArgument, "there is no file to read again");
    auto next = source();
    const double at = static_cast<double>(clock.unix_now()) / 1e3;
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

Task<void> poll_members(std::shared_ptr<RouterCore> core) {
    bool up = true;
    bool more = true;
    while (more) {
        const auto records = co_await core->store->nodes();
        if (core->background.ending()) break;
        if (records.ok()) core->membership.apply(*records, core->clock.now());
        if (records.ok() != up) {
            up = records.ok();
            if (up)
                log::info("metadata store is back");
            else
                log::warn("metadata store is down; the last members stand",
                          {{"error", records.error().message}});
        }
        more = co_await core->background.pause(milliseconds(core->config->membership_refresh_ms));
    }
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

Task<void> probe_nodes(std::shared_ptr<RouterCore> core) {
    const milliseconds interval(core->config->health_interval_ms);
    const milliseconds timeout = std::max(interval, kProbeTimeoutMin);
    MonotonicNs due = 0;
    bool more = true;
    while (more) {
        // New members are asked at once, all of them each interval; nobody waits for a slow one.
        const std::shared_ptr<const Members> members = core->membership.now();
        const bool round = core->clock.now() >= due;
        if (round) due = core->clock.now() + interval.count() * kMs;
        for (const Member& member : members->members) {
            const bool unknown = member.status->health == NodeStatus::Health::kUnknown;
            if (member.status->probing || !(round || unknown)) continue;
            member.status->probing = true;
            core->background.start(probe_node(core, member, timeout));
        }
        more = co_await core->background.pause(std::min(interval, milliseconds(100)));
    }
}

}  // namespace hearth
