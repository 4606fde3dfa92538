// RouterServer: the listeners, which path goes where, and the order of start and end.
#include "router/server.h"

#include <array>

#include "common/base/log.h"
#include "common/net/http_server.h"
#include "router/admin/admin.h"
#include "router/core.h"
#include "router/members/loops.h"
#include "router/relay/account.h"
#include "router/relay/kept_responses.h"
#include "router/relay/models.h"
#include "router/relay/refusal.h"
#include "router/relay/turn.h"

namespace hearth {
namespace {

struct Path {
    std::string_view path;
    std::string_view method;
    Endpoint endpoint;
};
constexpr std::string_view kModelPrefix = "/v1/models/";
constexpr std::string_view kKeptResponse = "/v1/responses/{id}";
constexpr std::array<Path, 8> kPaths = {{
    {"/v1/chat/completions", "POST", Endpoint::kChatCompletions},
    {"/v1/completions", "POST", Endpoint::kCompletions},
    {"/v1/responses", "POST", Endpoint::kResponses},
    {kKeptResponse, "GET", Endpoint::kResponses},
    {"/v1/models", "GET", Endpoint::kModels},
    {"/health", "GET", Endpoint::kOther},
    {"/ready", "GET", Endpoint::kOther},
    {"/metrics", "GET", Endpoint::kOther},
}};

ServerLimits limits_of(const RouterConfig& config) {
    using std::chrono::milliseconds;
    ServerLimits limits;
    limits.head_timeout = milliseconds(config.head_timeout_ms);
    limits.idle_timeout = milliseconds(config.idle_timeout_ms);
    limits.body_timeout = milliseconds(config.body_timeout_ms);
    limits.body_rate_min = static_cast<std::size_t>(config.body_rate_min);
    limits.write_timeout = milliseconds(config.write_timeout_ms);
    limits.connections_max = static_cast<std::size_t>(config.connections_max);
    limits.connections_per_address_max =
        static_cast<std::size_t>(config.connections_per_address_max);
    return limits;
}

// HEAD is GET without the body, which the server leaves out (RFC 9110 section 9.3.2).
bool takes(const Path& path, std::string_view method) {
    return method == path.method || (method == "HEAD" && path.method == "GET") ||
           (method == "DELETE" && path.path == kKeptResponse);
}

std::string methods_of(const Path& path) {
    return std::string(path.method) + (path.path == kKeptResponse ? ", DELETE" : "");
}

bool ready(const RouterCore& core) {
    const auto members = core.membership.now();
    for (std::size_t i = 0; i < members->seats.size(); ++i)
        if (members->members[i].status->health == NodeStatus::Health::kUp) return !core.draining;
    return false;
}

Task<void> answer(ServerExchange& exchange, int status, std::string_view type, std::string body) {
    HeaderList headers{{"content-type", std::string(type)}};
    (void)co_await exchange.respond(status, std::move(headers), body);
}

Task<void> serve_probe(std::shared_ptr<RouterCore> core, ServerExchange& exchange,
                       std::string_view path) {
    constexpr std::string_view kJson = "application/json";
    if (path == "/health") {
        co_await answer(exchange, 200, kJson, "{\"status\":\"ok\"}");
        co_return;
    }
    if (path == "/metrics") {
        const bool directory_up = core->store != nullptr && core->store->up();
        const MonotonicNs idle = core->config->scale_up_idle_ms * kMs;
        core->metrics.sessions_active(core->bindings.used_since(core->clock.now() - idle));
        std::string text = core->metrics.expose(*core->membership.now(), directory_up);
        co_await answer(exchange, 200, "text/plain; version=0.0.4; charset=utf-8", std::move(text));
        co_return;
    }
    if (ready(*core)) {
        co_await answer(exchange, 200, kJson, "{\"status\":\"ready\"}");
        co_return;
    }
    Refusal refusal{503, "not_ready", "no node is up", {}, 1};
    if (core->draining) refusal.message = "this router is shutting down";
    co_await refuse(exchange, std::move(refusal), std::string());
}

// 404 and 405, and the list of models: everything with a log line that is not a turn.
Task<void> serve_other(std::shared_ptr<RouterCore> core, ServerExchange& exchange,
                       const Path* known) {
    TurnFacts facts;
    facts.endpoint = known != nullptr ? known->endpoint : Endpoint::kOther;
    facts.started = core->clock.now();
    facts.request_id = request_id_of(exchange.head(), *core);
    facts.method = exchange.head().method;
    facts.path = exchange.head().path;
    core->metrics.request_started(facts.endpoint);
    const RequestHead& head = exchange.head();
    if (known == nullptr) {
        facts.status = 404;
        Refusal refusal{404, "unknown_url", "unknown path; see GET /v1/models"};
        co_await refuse(exchange, std::move(refusal), facts.request_id);
    } else if (!takes(*known, head.method)) {
        facts.status = 405;
        const Refusal refusal{405, "method_not_allowed", "this path takes " + methods_of(*known)};
        HeaderList headers{{"content-type", "application/json"},
                           {"allow", methods_of(*known)},
                           {"x-request-id", facts.request_id}};
        const std::string body = refusal_body(refusal);
        (void)co_await exchange.respond(405, std::move(headers), body);
    } else if (known->path == kKeptResponse) {
        co_await serve_kept_response(core, exchange, facts.request_id, facts.status);
    } else {
        std::string_view wanted;
        if (head.path.starts_with(kModelPrefix)) wanted = head.path.substr(kModelPrefix.size());
        co_await serve_models(core, exchange, wanted, facts.request_id, facts.status);
    }
    account(*core, facts, core->clock.now());
}

Task<void> route(std::shared_ptr<RouterCore> core, ServerExchange& exchange) {
    const RequestHead& head = exchange.head();
    std::string_view wanted = head.path;
    if (wanted.starts_with(kModelPrefix) && wanted != kModelPrefix) wanted = "/v1/models";
    if (!kept_response_in(wanted).empty()) wanted = kKeptResponse;
    const Path* known = nullptr;
    for (const Path& path : kPaths)
        if (path.path == wanted) known = &path;
    const bool matches = known != nullptr && takes(*known, head.method);
    if (matches && known->method == "POST")
        return serve_turn(std::move(core), exchange, known->endpoint);
    if (matches && known->endpoint == Endpoint::kOther)
        return serve_probe(std::move(core), exchange, known->path);
    return serve_other(std::move(core), exchange, known);
}

}  // namespace

// Owned by the server; the core lives until the last handler and background task has ended.
class RouterServer::State {
  public:
    State(asio::io_context& io, const RouterConfig& config, MetadataStore* store,
          const Clock& clock)
        : core(std::make_shared<RouterCore>(io, config, store, clock)), loop(io) {}

    using Serve = Task<void> (*)(std::shared_ptr<RouterCore>, ServerExchange&);
    Result<void> listen(std::unique_ptr<HttpServer>& made, std::size_t which,
                        HttpServer::Options options, Serve serve);
    Result<void> listen_all();
    Result<void> renew_tls();

    std::shared_ptr<RouterCore> core;
    asio::io_context& loop;
    std::unique_ptr<HttpServer> server;
    std::unique_ptr<HttpServer> admin;
    std::vector<int> inherited;  // Of `listen` and `admin_listen`; -1 = none.
    bool hold = false;           // start() does not accept yet.
    bool handed_over = false;
};

// `which` is its place among the inherited sockets.
Result<void> RouterServer::State::listen(std::unique_ptr<HttpServer>& made, std::size_t which,
                                         HttpServer::Options options, Serve serve) {
    const auto parts = split_host_port(options.address);
    if (!parts) return parts.error();
    options.address = parts->first;
    options.port = parts->second;
    options.limits = limits_of(*core->config);
    options.reuse_port = core->config->reuse_port;
    options.accept_at_start = !hold;
    if (which < inherited.size()) options.listener = inherited[which];
    made = std::make_unique<HttpServer>(
        loop, std::move(options),
        [shared = core, serve](ServerExchange& exchange) { return serve(shared, exchange); });
    return made->start();
}

Result<void> RouterServer::State::listen_all() {
    auto tls = TlsContext::listener(core->config->tls);
    if (!tls) return tls.error();
    auto upstream = upstream_tls_of(*core->config);
    if (!upstream) return upstream.error();
    core->client.set_tls(std::move(*upstream));
    HttpServer::Options options;
    options.address = core->config->listen;
    options.tls = std::move(*tls);
    if (auto done = listen(server, 0, std::move(options), &route); !done) return done;
    if (core->config->admin_listen.empty()) return {};
    HttpServer::Options admin_options;
    admin_options.address = core->config->admin_listen;
    return listen(admin, 1, std::move(admin_options), &serve_admin);
}

Result<void> RouterServer::State::renew_tls() {
    auto tls = TlsContext::listener(core->config->tls);
    if (!tls) return tls.error();
    auto upstream = upstream_tls_of(*core->config);
    if (!upstream) return upstream.error();
    const std::string expires = *tls ? (*tls)->expires() : "";
    server->set_tls(std::move(*tls));
    core->client.set_tls(std::move(*upstream));
    log::info("certificates were read", {{"expires", expires}});
    return {};
}

RouterServer::RouterServer(asio::io_context& io, const RouterConfig& config, MetadataStore* store,
                           const Clock& clock)
    : state_(std::make_unique<State>(io, config, store, clock)) {}

RouterServer::~RouterServer() {
    state_->core->background.cancel();
    state_->core->renew_tls = nullptr;
}

void RouterServer::inherit(std::vector<int> listeners, bool hold) {
    state_->inherited = std::move(listeners);
    state_->hold = hold;
}

void RouterServer::accept() {
    state_->server->accept();
    if (state_->admin) state_->admin->accept();
}

Task<bool> RouterServer::wait_ready(std::chrono::milliseconds limit) {
    const std::shared_ptr<RouterCore> core = state_->core;
    const MonotonicNs end = core->clock.now() + limit.count() * kMs;
    bool more = true;
    while (more && !ready(*core) && core->clock.now() < end)
        more = co_await core->background.pause(std::chrono::milliseconds(20));
    co_return ready(*core);
}

std::vector<int> RouterServer::listeners() const {
    std::vector<int> out{state_->server->listener()};
    if (state_->admin) out.push_back(state_->admin->listener());
    return out;
}

void RouterServer::hand_over() {
    state_->handed_over = true;
    state_->server->hand_over();
    if (state_->admin) state_->admin->hand_over();
}

void RouterServer::reload_from(ConfigSource source, LoadedConfig first) {
    RouterCore& core = *state_->core;
    core.source = std::move(source);
    core.loaded = std::move(first);
    core.metrics.reloaded(true, unix_seconds(core.clock), core.loaded.fingerprint);
    core.renew_tls = [state = state_.get()] { return state->renew_tls(); };
}

void RouterServer::reload() {
    (void)state_->core->reload();
}

Result<void> RouterServer::start() {
    const RouterConfig& config = *state_->core->config;
    if (auto done = state_->listen_all(); !done) return done;
    if (config.session_secret.empty())
        log::warn("session_secret is not set; session keys are derived from the cluster's name",
                  {{"cluster", config.cluster}});
    const std::shared_ptr<RouterCore> core = state_->core;
    if (core->store == nullptr && config.nodes.empty() && config.dns.empty() &&
        config.members_file.empty())
        log::warn("no redis, nodes, dns or members_file is set: there is nobody to send a turn to");
    start_members(core);
    if (!config.otlp_endpoint.empty()) core->background.start(export_spans(core));
    log::info("router serves", {{"address", endpoint()}, {"admin", admin_endpoint()}});
    return {};
}

std::string RouterServer::endpoint() const {
    return state_->server->endpoint();
}

std::string RouterServer::admin_endpoint() const {
    return state_->admin ? state_->admin->endpoint() : std::string();
}

Task<void> RouterServer::drain_and_stop(std::chrono::milliseconds grace) {
    const std::shared_ptr<RouterCore> core = state_->core;
    core->draining = true;
    state_->server->begin_drain();
    log::info("router drains", {{"connections", state_->server->connections()}});
    const std::chrono::milliseconds delay(core->config->drain_delay_ms);
    // A successor is ready already, and what comes to us of its admin requests would mislead.
    if (state_->handed_over && state_->admin) state_->admin->stop_accepting();
    if (!state_->handed_over && delay.count() > 0) (void)co_await core->background.pause(delay);
    co_await state_->server->drain(grace);
    if (state_->admin) co_await state_->admin->drain(std::chrono::milliseconds(0));
    co_await core->background.end();
}

}  // namespace hearth
