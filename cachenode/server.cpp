// NodeServer: makes the parts of a node, starts them in order, and takes them down in reverse.
#include "cachenode/server.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <random>
#include <utility>

#include "cachenode/api/handlers.h"
#include "cachenode/kv/page_hash.h"
#include "cachenode/metrics.h"
#include "cachenode/places.h"
#include "cachenode/publish/kv_event_publisher.h"
#include "cachenode/publish/publisher.h"
#include "cachenode/scheduler/scheduler.h"
#include "common/base/log.h"
#include "common/base/rng.h"
#include "common/net/http_server.h"

namespace hearth {

namespace {

// For sessions whose turns ran until the end of the grace.
constexpr MonotonicNs kLastHandOff = 2 * kSecond;

std::string hex64(std::uint64_t value) {
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
    return text;
}

std::uint64_t random64() {
    std::random_device device;
    return (static_cast<std::uint64_t>(device()) << 32) | device();
}

SchedulerOptions scheduler_options(const NodeConfig& config, std::uint64_t fingerprint) {
    SchedulerOptions out;
    out.model_fingerprint = fingerprint;
    out.sequences_max = static_cast<std::int32_t>(config.sequences_max);
    out.queue_max = static_cast<std::int32_t>(config.queue_max);
    out.step_tokens_max = static_cast<std::int32_t>(config.step_tokens_max);
    out.chunk_tokens_max = static_cast<std::int32_t>(config.chunk_tokens_max);
    out.kv_bytes_max = config.kv_memory;
    out.cache = config.cache;
    out.ghost_sample = static_cast<std::uint64_t>(config.ghost_sample);
    out.kv_ttl = config.kv_ttl_ms * kMs;
    out.follow_up_bonus = config.follow_up_bonus_ms * kMs;
    out.kv_verify = config.kv_verify;
    return out;
}

std::string model_name(const NodeConfig& config, const engine::Checkpoint& checkpoint) {
    if (!config.served_model_name.empty()) return config.served_model_name;
    if (!checkpoint.config.name.empty()) return checkpoint.config.name;
    const std::filesystem::path path(config.model_path);
    return (path.has_filename() ? path : path.parent_path()).filename().string();
}

}  // namespace

// Made once by make(); everything in it but the scheduler's thread runs on the io_context's thread.
class NodeServer::State {
  public:
    State(asio::io_context& io_context, const NodeConfig& node_config, MetadataStore* metadata,
          const Clock& time)
        : io(io_context), config(node_config), store(metadata), clock(time) {}
    ~State();

    Result<void> build(engine::Checkpoint&& checkpoint);
    Result<void> build_engine(engine::Checkpoint&& checkpoint);
    void build_publisher();
    void build_scheduler(std::unique_ptr<engine::Engine> engine, int cpu);
    Result<void> open_kv_events();
    Result<void> open_disk();
    Result<void> build_server();
    Result<void> build_transfer(ApiParts& parts);
    NodeRecord record() const;
    void begin_drain();
    static Task<void> drain(State& self, std::chrono::milliseconds grace);

    asio::io_context& io;
    const NodeConfig config;
    MetadataStore* const store;
    const Clock& clock;
    const std::string generation = hex64(random64());
    const std::int64_t started_ms = clock.unix_now();
    std::uint64_t fingerprint = 0;  // Of the checkpoint.
    ApiOptions api_options;
    std::shared_ptr<const PromptRenderer> prompts;
    std::shared_ptr<NodeMetrics> metrics;
    std::shared_ptr<Publisher> publisher;
    std::shared_ptr<KvEventPublisher> kv_events;  // Null: not wanted. The scheduler fills its log.
    std::shared_ptr<Scheduler> scheduler;
    std::unique_ptr<HttpClient> peer_client;
    std::shared_ptr<Migrator> migrator;  // Null: no KV moves.
    // The same, for the scheduler's reports, which begin before it and end after it.
    std::shared_ptr<std::weak_ptr<Migrator>> copies = std::make_shared<std::weak_ptr<Migrator>>();
    std::shared_ptr<Api> api;
    std::unique_ptr<HttpServer> http;
};

NodeServer::State::~State() {
    // It calls record(), which asks the HTTP server; and that one runs the loop as it goes.
    if (publisher) publisher->stop();
    if (migrator) migrator->stop();
    http.reset();
    if (scheduler) scheduler->stop();  // Its thread posts to `io`.
    if (kv_events) kv_events->stop();
}

Result<void> NodeServer::State::build(engine::Checkpoint&& checkpoint) {
    if (auto format = check_page_format(); !format) return format;
    auto made = PromptRenderer::make(checkpoint, config.chat_template);
    if (!made.ok()) return made.error();
    prompts = std::move(*made);
    fingerprint = checkpoint.fingerprint;
    // Other weights make other K and V: such nodes share no pages.
    if (config.weights != "int8") fingerprint = mix64(~fingerprint);
    api_options.node_id = config.node_id;
    api_options.fingerprint = "fp_" + hex64(fingerprint);
    api_options.body_bytes_max = static_cast<std::size_t>(config.body_bytes_max);
    api_options.body_memory = static_cast<std::size_t>(config.body_memory);
    api_options.responses_max = static_cast<std::size_t>(config.responses_max);
    api_options.responses_memory = static_cast<std::size_t>(config.responses_memory);
    api_options.truncates = config.truncation;
    api_options.vllm_metrics = config.vllm_metrics;
    api_options.truncation_step_tokens = config.truncation_step_tokens;
    api_options.default_max_tokens = config.default_max_tokens;
    api_options.seed = random64();
    api_options.model.name = model_name(config, checkpoint);
    api_options.model.created = clock.unix_now() / 1000;
    api_options.model.context_length = checkpoint.config.context_length;
    if (auto built = build_engine(std::move(checkpoint)); !built.ok()) return built;
    return build_server();
}

Result<void> NodeServer::State::build_engine(engine::Checkpoint&& checkpoint) {
    engine::EngineOptions options;
    options.backend = config.backend;
    options.isa = config.isa;
    options.weights = config.weights;
    const Machine machine = read_machine();
    const auto places =
        place_threads(machine, static_cast<std::int32_t>(config.threads), config.cpus);
    if (!places) return places.error();
    options.threads = places->threads;
    options.cpus = places->cpus;
    // Before weights and pages are touched.
    const bool is_near = places->memory_nodes.empty() || prefer_memory_of(places->memory_nodes);
    auto engine = engine::make_engine(std::move(checkpoint), options);
    if (!engine.ok()) return engine.error();
    const engine::KvLayout& layout = (*engine)->kv_layout();
    const std::int64_t pages = config.kv_memory / static_cast<std::int64_t>(layout.page_bytes());
    if (pages < 2)
        return make_error(ErrorCode::kInvalidArgument, "kv_memory: holds " + std::to_string(pages) +
                                                           " pages of " +
                                                           std::to_string(layout.page_bytes()) +
                                                           " bytes; at least 2 are needed");
    api_options.kv_tokens_max = pages * engine::kPageTokens;
    NodeMetricsFacts facts;
    facts.model = api_options.model.name;
    facts.backend = (*engine)->backend_name();
    facts.kv_bytes_per_token = static_cast<std::int64_t>(layout.bytes_per_token());
    metrics = std::make_shared<NodeMetrics>(facts);
    build_publisher();
    if (auto events = open_kv_events(); !events) return events;
    build_scheduler(std::move(*engine), places->cpus.empty() ? -1 : places->cpus.front());
    if (auto disk = open_disk(); !disk) return disk;
    log::info("engine ready", {{"backend", facts.backend},
                               {"threads", places->threads},
                               {"cpus", places->cpus.empty() ? "any" : cpu_list(places->cpus)},
                               {"memory_nodes", cpu_list(places->memory_nodes)},
                               {"memory_near", is_near},
                               {"model", facts.model},
                               {"kv_tokens_max", api_options.kv_tokens_max},
                               {"kv_bytes_per_token", facts.kv_bytes_per_token}});
    return {};
}

void NodeServer::State::build_publisher() {
    if (store == nullptr) return;
    PublisherOptions options;
    options.node_id = config.node_id;
    options.generation = generation;
    options.heartbeat = std::chrono::milliseconds(config.heartbeat_ms);
    options.session_ttl = std::chrono::milliseconds(config.session_ttl_ms);
    publisher = std::make_shared<Publisher>(
        io, std::move(options), *store, [this] { return record(); }, metrics, clock);
}

Result<void> NodeServer::State::open_kv_events() {
    if (!config.kv_events) return {};
    KvEventOptions options;
    options.endpoint = config.kv_events_endpoint;
    options.connect = config.kv_events_connect;
    options.replay_endpoint = config.kv_events_replay_endpoint;
    options.topic = config.kv_events_topic;
    options.buffer_steps = config.kv_events_buffer_steps;
    options.hwm = config.kv_events_hwm;
    if (config.kv_events_encoding == "array") options.encoding = KvEventEncoding::kArray;
    auto opened = KvEventPublisher::open(std::move(options), metrics->registry(), clock);
    if (!opened) return opened.error();
    kv_events = std::move(*opened);
    log::info("kv events are published",
              {{"endpoint", kv_events->endpoint()}, {"replay", kv_events->replay_endpoint()}});
    return {};
}

void NodeServer::State::build_scheduler(std::unique_ptr<engine::Engine> engine, int cpu) {
    SchedulerObserver observer;
    observer.step_done = [shared = metrics](double step_seconds, std::int64_t tokens,
                                            const char* phase) {
        shared->step_done(step_seconds, tokens, phase);
    };
    observer.turn_done = [copies = copies, shared = metrics, publish = publisher,
                          &loop = io](const TurnReport& report) {
        shared->turn_done(report);
        if (!publish || !report.session || report.session_tokens <= 0) return;
        asio::post(loop, [copies, publish, key = *report.session, tokens = report.session_tokens,
                          turn = report.turn, salt = report.salt] {
            publish->session_changed(key, tokens, turn);
            if (const auto copying = copies->lock()) copying->turn_done(key, salt);
        });
    };
    observer.session_grown = [publish = publisher, &loop = io](
                                 const SessionKey& key, std::int64_t turn, std::int64_t tokens) {
        if (!publish) return;
        asio::post(loop,
                   [publish, key, turn, tokens] { publish->session_changed(key, tokens, turn); });
    };
    if (kv_events)
        observer.page_changed = [events = kv_events](const PageEvent& page) {
            events->log().page_changed(page);
        };
    SchedulerOptions options = scheduler_options(config, fingerprint);
    options.cpu = cpu;
    scheduler = std::make_shared<Scheduler>(std::move(engine), prompts->tokenizer(), options, clock,
                                            std::move(observer));
}

Result<void> NodeServer::State::open_disk() {
    if (config.kv_disk.empty()) return {};
    DiskTierOptions options;
    options.folder = config.kv_disk;
    options.bytes_max = config.kv_disk_bytes;
    const MonotonicNs begin = clock.now();
    if (auto opened = scheduler->open_disk(options); !opened) return opened;
    log::info("disk tier ready", {{"folder", config.kv_disk},
                                  {"pages", scheduler->stats()->disk.pages},
                                  {"index_s", seconds(clock.now() - begin)}});
    return {};
}

Result<void> NodeServer::State::build_server() {
    const auto listen = split_host_port(config.listen);
    if (!listen.ok()) return listen.error();
    ApiParts parts;
    parts.prompts = prompts;
    parts.scheduler = scheduler;
    parts.metrics = metrics;
    parts.publisher = publisher;
    parts.store = store;
    parts.clock = &clock;
    if (auto built = build_transfer(parts); !built) return built;
    api = std::make_shared<Api>(api_options, std::move(parts));
    HttpServer::Options options;
    options.address = listen->first;
    options.port = listen->second;
    auto tls = TlsContext::listener(config.tls);
    if (!tls) return tls.error();
    options.tls = std::move(*tls);
    options.limits.connections_max = static_cast<std::size_t>(config.connections_max);
    options.limits.connections_per_address_max =
        static_cast<std::size_t>(config.connections_per_address_max);
    http = std::make_unique<HttpServer>(io, options, Api::handler(api));
    return {};
}

Result<void> NodeServer::State::build_transfer(ApiParts& parts) {
    if (!config.transfer) return {};
    HttpClient::Options client;
    if (!config.tls.cert.empty()) {  // Then other nodes speak TLS too.
        auto tls = TlsContext::client({.ca_file = config.peer_ca,
                                       .cert_file = config.tls.cert,
                                       .key_file = config.tls.key,
                                       .server_name = ""});
        if (!tls) return tls.error();
        client.tls = std::move(*tls);
    }
    peer_client = std::make_unique<HttpClient>(io, client);
    auto gate = std::make_shared<KvGate>(io, scheduler);
    auto counts = std::make_shared<TransferMetrics>(metrics->registry());
    const PeerCredentials credentials{config.fleet_secret,
                                      wire_format(fingerprint, gate->page_bytes())};
    PeerApiParts peer_parts{gate, publisher, counts};
    parts.peers = std::make_shared<PeerApi>(credentials, std::move(peer_parts));
    if (!publisher) return {};  // Without a store nobody knows of peers.
    MigratorOptions options;
    options.node_id = config.node_id;
    options.fingerprint = hex64(fingerprint);
    options.replicate = config.replicate;
    options.pull_timeout = std::chrono::milliseconds(config.pull_timeout_ms);
    options.kv_bytes_per_token = scheduler->engine().kv_layout().bytes_per_token();
    auto transport =
        std::make_shared<HttpTransport>(*peer_client, credentials, gate->page_bytes(), clock);
    MigratorParts all{gate, transport, publisher, counts};
    migrator = std::make_shared<Migrator>(io, std::move(options), std::move(all), clock);
    parts.migrator = migrator;
    *copies = migrator;
    publisher->on_drained([this](bool drained) {
        log::info(drained ? "an operator drains this node" : "an operator put this node back",
                  {{"node", config.node_id}});
        if (api->state() != NodeState::kDraining) migrator->drain(drained);
    });
    return {};
}

NodeRecord NodeServer::State::record() const {
    const auto stats = scheduler->stats();
    NodeRecord out;
    out.node_id = config.node_id;
    out.generation = generation;
    out.started_ms = started_ms;
    out.address = config.advertise.empty() ? http->endpoint() : config.advertise;
    out.state = api->state();
    out.model = api_options.model.name;
    out.model_fingerprint = hex64(fingerprint);
    out.weight = config.weight;
    out.queued_tokens = stats->queued_tokens;
    out.prefill_tokens_per_s = stats->prefill_tokens_per_s;
    out.running = stats->running;
    out.waiting = stats->waiting;
    out.kv_bytes_used = stats->kv_bytes_used;
    out.kv_bytes_max = stats->kv_bytes_max;
    out.kv_disk_bytes_used = stats->disk.bytes;
    out.kv_disk_bytes_max = stats->disk.bytes_max;
    if (migrator) out.sessions = stats->sessions;
    if (publisher) out.is_drained = publisher->is_drained();
    out.reused_tokens = stats->reused_tokens;
    out.reusable_tokens = stats->reusable_tokens;
    out.prompt_tokens = stats->prompt_tokens_device + stats->prompt_tokens_disk +
                        stats->prompt_tokens_peer + stats->prompt_tokens_computed;
    for (std::size_t i = 0; i < kMissReasonNames.size(); ++i) {
        const auto found = stats->missed_tokens.find(kMissReasonNames[i]);
        if (found != stats->missed_tokens.end()) out.missed_tokens[i] = found->second;
    }
    return out;
}

void NodeServer::State::begin_drain() {
    if (api->state() == NodeState::kDraining) return;
    log::info("drains until it is ended", {{"node", config.node_id}});
    api->set_state(NodeState::kDraining);
    if (publisher) publisher->tell_now();  // Routers send no more turns; others get a 503.
    if (migrator) migrator->drain(true);
}

Task<void> NodeServer::State::drain(State& self, std::chrono::milliseconds grace) {
    log::info("draining", {{"node", self.config.node_id}, {"grace_ms", grace.count()}});
    self.api->set_state(NodeState::kDraining);
    self.http->begin_drain();
    const MonotonicNs deadline = self.clock.now() + grace.count() * kMs;
    if (self.migrator) {
        self.migrator->drain(false);  // An operator's, if there is one: this goes further.
        self.publisher->tell_now();   // Routers send no more turns; those that come get a 503.
        co_await self.migrator->hand_off(deadline);
    }
    if (self.publisher) co_await self.publisher->leave();
    const std::chrono::milliseconds left((deadline - self.clock.now()) / kMs);
    co_await self.http->drain(std::max(left, std::chrono::milliseconds(0)));
    if (self.migrator) co_await self.migrator->hand_off(deadline + kLastHandOff);  // Of the grace.
    self.scheduler->stop();
    if (self.kv_events) self.kv_events->stop();
    if (self.publisher) co_await self.publisher->flush();  // Turns that ended in the grace.
    log::info("stopped", {{"node", self.config.node_id}});
}

NodeServer::NodeServer(std::unique_ptr<State> state) : state_(std::move(state)) {}
NodeServer::~NodeServer() = default;

Result<std::unique_ptr<NodeServer>> NodeServer::make(asio::io_context& io, const NodeConfig& config,
                                                     engine::Checkpoint&& checkpoint,
                                                     MetadataStore* store, const Clock& clock) {
    auto state = std::make_unique<State>(io, config, store, clock);
    if (auto built = state->build(std::move(checkpoint)); !built.ok()) return built.error();
    return std::unique_ptr<NodeServer>(new NodeServer(std::move(state)));
}

Result<void> NodeServer::start() {
    if (auto bound = state_->http->start(); !bound.ok()) return bound;
    if (state_->kv_events) state_->kv_events->start();
    state_->scheduler->start();
    state_->api->set_state(NodeState::kReady);
    if (state_->publisher) state_->publisher->start();
    if (state_->migrator) state_->migrator->start();
    log::info("serving", {{"node", state_->config.node_id},
                          {"address", state_->http->endpoint()},
                          {"generation", state_->generation}});
    return {};
}

std::string NodeServer::endpoint() const {
    return state_->http->endpoint();
}

const std::string& NodeServer::generation() const {
    return state_->generation;
}

Result<void> NodeServer::reload_tls() {
    auto tls = TlsContext::listener(state_->config.tls);
    if (!tls) return tls.error();
    const std::string expires = *tls ? (*tls)->expires() : "";
    state_->http->set_tls(std::move(*tls));
    log::info("certificates were read", {{"expires", expires}});
    return {};
}

void NodeServer::begin_drain() {
    state_->begin_drain();
}

Task<void> NodeServer::drain_and_stop(std::chrono::milliseconds grace) {
    return State::drain(*state_, grace);
}

}  // namespace hearth
