// Publisher: two loops (heartbeat, session queue) and the look-up of what other nodes published.
#include "cachenode/publish/publisher.h"

#include <algorithm>
#include <deque>
#include <exception>
#include <map>
#include <utility>
#include <vector>

#include "cachenode/publish/session_epochs.h"
#include "common/base/log.h"

namespace hearth {

namespace {

// The shortest turn adds as much to a session: the marks around both messages, a token of each.
// What our own last turn leaves to compute (its last token, and the closing) is less. So a history
// this much longer than what we hold means that another node may have served a turn in between.
constexpr std::int64_t kTurnTokensMin = 5;
// Until the first heartbeat arrives, so many attempts are made within one heartbeat's time.
constexpr int kJoinAttempts = 10;
// How long a node that ends waits for a store to take its last sessions.
constexpr std::chrono::milliseconds kFlushMax{2'000};

template <typename T>
Result<void> outcome_of(const Result<T>& result) {
    if (!result.ok()) return result.error();
    return {};
}

}  // namespace

class Publisher::Core {
  public:
    using Self = std::shared_ptr<Core>;

    Core(asio::io_context& io_context, PublisherOptions settings, MetadataStore& metadata,
         std::function<NodeRecord()> make_record, std::shared_ptr<NodeMetrics> node_metrics,
         const Clock& time)
        : io(io_context),
          options(std::move(settings)),
          store(metadata),
          current_record(std::move(make_record)),
          metrics(std::move(node_metrics)),
          clock(time),
          epochs(options.sessions_max),
          beat(io),
          work(io),
          ended(io) {}

    void stop();
    static Task<void> heartbeat(Self self);
    static Task<void> hear_drains(Self self);
    static Task<void> publish_sessions(Self self);
    static Task<SessionHint> find_hint(Self self, SessionKey key, std::int64_t history_tokens,
                                       std::int64_t router_epoch);
    static Task<Result<std::vector<NodeRecord>>> live_nodes(Self self);
    static Task<bool> lives(Self self, std::string node_id, std::string generation,
                            std::string& address);
    static Task<Result<void>> hand_over(Self self, SessionKey key, SessionRecord record);
    static Task<void> leave(Self self);
    static Task<void> flush(Self self);
    static Task<void> wait(asio::steady_timer& timer, std::chrono::milliseconds duration);
    void heard(const Result<void>& result);
    void enqueue(const SessionKey& key, std::int64_t tokens, std::int64_t turn);

    struct Update {
        SessionKey key;
        SessionRecord record;
    };

    asio::io_context& io;
    PublisherOptions options;
    MetadataStore& store;
    std::function<NodeRecord()> current_record;
    std::shared_ptr<NodeMetrics> metrics;
    const Clock& clock;
    SessionEpochs epochs;
    std::deque<Update> queue;
    std::vector<NodeRecord> nodes;  // As of nodes_read; for lives().
    MonotonicNs nodes_read = 0;
    std::map<std::string, bool> drains;  // By an operator.
    bool drained = false;                // This node is.
    std::function<void(bool)> told_drained;
    asio::steady_timer beat, work, ended;      // Cancelled to wake their loops.
    bool beating = false, publishing = false;  // Their loops run.
    bool at_work = false;                      // An update is on its way to the store.
    bool leaving = false;                      // No more heartbeats.
    bool stopped = false;
    bool joined = false;  // Some heartbeat reached the store.
    int failures = 0;     // Heartbeats in a row that did not.
    bool warned = false;
};

Task<void> Publisher::Core::wait(asio::steady_timer& timer, std::chrono::milliseconds duration) {
    timer.expires_after(duration);
    boost::system::error_code ignored;  // A cancelled wait is a wake-up.
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
}

void Publisher::Core::stop() {
    stopped = true;
    beat.cancel();
    work.cancel();
}

void Publisher::Core::heard(const Result<void>& result) {
    metrics->directory_done(DirectoryOperation::kHeartbeat, result);
    if (result.ok()) {
        if (warned) log::info("metadata store answers again");
        warned = false;
        failures = 0;
        return;
    }
    // At the start the store's connection may be some milliseconds behind us: no news.
    if (++failures < (joined ? 1 : kJoinAttempts) || warned) return;
    warned = true;
    log::warn("metadata store does not answer; chats go on without it",
              {{"error", result.error().message}});
}

Task<void> Publisher::Core::heartbeat(Self self) {
    while (!self->stopped && !self->leaving) {
        const NodeRecord record = self->current_record();
        const auto ttl = 3 * self->options.heartbeat;
        const Result<void> told = co_await self->store.publish_node(record, ttl);
        if (self->stopped) break;
        self->heard(told);
        if (told.ok() && !self->joined) {
            self->joined = true;
            const std::string kind = "join";
            (void)co_await self->store.append_event(kind, record.node_id, record.generation);
        }
        if (told.ok() && !self->stopped && !self->leaving) co_await hear_drains(self);
        if (self->stopped || self->leaving) break;
        const bool eager = !self->joined && self->failures < kJoinAttempts;
        auto pause = self->options.heartbeat;
        if (eager) pause /= kJoinAttempts;
        co_await wait(self->beat, pause);
    }
    self->beating = false;
    self->ended.cancel();
}

Task<void> Publisher::Core::hear_drains(Self self) {
    auto read = co_await self->store.drains();
    if (!read || self->stopped) co_return;
    self->drains = std::move(*read);
    const auto own = self->drains.find(self->options.node_id);
    const bool drained = own != self->drains.end() && own->second;
    if (drained == self->drained) co_return;
    self->drained = drained;
    if (self->told_drained) self->told_drained(drained);
    (void)co_await self->store.publish_node(self->current_record(), 3 * self->options.heartbeat);
}

Task<void> Publisher::Core::publish_sessions(Self self) {
    while (!self->stopped) {
        if (self->queue.empty()) {
            self->ended.cancel();
            co_await wait(self->work, std::chrono::hours(24));
            continue;
        }
        const Update update = std::move(self->queue.front());
        self->queue.pop_front();
        const auto ttl = self->options.session_ttl;
        self->at_work = true;
        const Result<void> told =
            co_await self->store.publish_session(update.key, update.record, ttl);
        self->at_work = false;
        if (self->stopped) break;
        self->metrics->directory_done(DirectoryOperation::kPublish, told);
        if (told.ok()) continue;
        if (self->queue.size() < self->options.queue_max) {
            self->queue.push_front(update);  // Kept for when the store is back.
        } else {
            self->metrics->directory_dropped();
        }
        co_await wait(self->work, self->options.heartbeat);
    }
    self->publishing = false;
    self->ended.cancel();
}

void Publisher::Core::enqueue(const SessionKey& key, std::int64_t tokens, std::int64_t turn) {
    SessionEpoch& known = epochs.touch(key);
    known.tokens = tokens;
    const std::int64_t now_ms = clock.unix_now();
    if (known.since_ms == 0) known.since_ms = now_ms;
    SessionRecord record;
    record.since_ms = known.since_ms;
    record.updated_ms = now_ms;
    record.node_id = options.node_id;
    record.generation = options.generation;
    record.epoch = known.epoch;
    record.tokens = tokens;
    record.turn = turn;
    record.tier = "device";
    if (queue.size() >= options.queue_max) {
        queue.pop_front();
        metrics->directory_dropped();
    }
    queue.push_back({key, std::move(record)});
    if (queue.size() == 1) work.cancel();
}

Task<Result<std::vector<NodeRecord>>> Publisher::Core::live_nodes(Self self) {
    const MonotonicNs now = self->clock.now();
    const MonotonicNs stale = self->options.heartbeat.count() * kMs;
    if (self->nodes_read == 0 || now - self->nodes_read > stale) {
        auto read = co_await self->store.nodes();
        if (!read.ok()) co_return read.error();
        self->nodes = std::move(*read);
        for (NodeRecord& node : self->nodes) {
            const auto drain = self->drains.find(node.node_id);
            if (drain != self->drains.end() && drain->second) node.state = NodeState::kDraining;
        }
        self->nodes_read = now;
    }
    co_return self->nodes;
}

Task<bool> Publisher::Core::lives(Self self, std::string node_id, std::string generation,
                                  std::string& address) {
    const auto nodes = co_await live_nodes(self);
    if (!nodes) co_return true;  // Unknown: do not call a node lost without proof.
    for (const NodeRecord& node : *nodes) {
        if (node.node_id != node_id) continue;
        if (!generation.empty() && node.generation != generation) continue;
        address = node.address;
        co_return true;
    }
    co_return false;
}

Task<Result<void>> Publisher::Core::hand_over(Self self, SessionKey key, SessionRecord record) {
    record.updated_ms = self->clock.unix_now();
    record.since_ms = record.updated_ms;
    record.tier = "device";
    const Result<void> told =
        co_await self->store.publish_session(key, record, self->options.session_ttl);
    self->metrics->directory_done(DirectoryOperation::kPublish, told);
    co_return told;
}

Task<SessionHint> Publisher::Core::find_hint(Self self, SessionKey key, std::int64_t history_tokens,
                                             std::int64_t router_epoch) {
    SessionHint hint;
    SessionEpoch& before = self->epochs.touch(key);
    const std::int64_t held_tokens = before.tokens;
    before.epoch = std::max(before.epoch, router_epoch);
    if (history_tokens == 0 || (before.settled && history_tokens < held_tokens + kTurnTokensMin))
        co_return hint;
    const auto found = co_await self->store.find_session(key);
    if (self->stopped) co_return hint;
    self->metrics->directory_done(DirectoryOperation::kLookup, outcome_of(found));
    if (!found.ok()) co_return hint;
    self->epochs.touch(key).settled = true;
    if (!found->has_value() || (*found)->node_id.empty()) co_return hint;
    SessionRecord record = **found;
    // A router has claimed it for us: the record says whom from.
    const bool claimed = record.tokens == 0 && !record.from_node.empty();
    if (claimed && record.node_id == self->options.node_id) {
        record.node_id = record.from_node;
        record.generation = record.from_generation;
        record.tokens = record.from_tokens;
        --record.epoch;
    }
    const bool own_node = record.node_id == self->options.node_id;
    const bool own = own_node && record.generation == self->options.generation;
    if (!own) {
        hint.known = true;
        hint.tokens = record.tokens;
        hint.node_alive = false;  // An earlier life of this very node is over.
        if (!own_node)
            hint.node_alive = co_await lives(self, record.node_id, record.generation, hint.holder);
    }
    // Only a router that did not know of it, and only while nothing of it is here, is corrected.
    const bool stale = router_epoch > 0 && router_epoch < record.epoch;
    if (hint.known && hint.node_alive && stale && held_tokens == 0) {
        hint.moved_to = record.node_id;
        co_return hint;
    }
    SessionEpoch& entry = self->epochs.touch(key);
    entry.epoch = std::max(entry.epoch, own ? record.epoch : record.epoch + 1);
    co_return hint;
}

Task<void> Publisher::Core::leave(Self self) {
    self->leaving = true;
    self->beat.cancel();
    while (self->beating) co_await wait(self->ended, std::chrono::hours(24));
    const std::string node_id = self->options.node_id;
    const std::string generation = self->options.generation;
    const std::string kind = "leave";
    const Result<void> removed = co_await self->store.remove_node(node_id, generation);
    if (!removed.ok())
        log::warn("could not remove the node record; it expires by itself",
                  {{"error", removed.error().message}});
    (void)co_await self->store.append_event(kind, node_id, generation);
}

Task<void> Publisher::Core::flush(Self self) {
    // What other threads have posted to this loop so far is queued when this comes back.
    co_await asio::post(self->io, asio::use_awaitable);
    const MonotonicNs deadline = self->clock.now() + kFlushMax.count() * kMs;
    while (self->publishing && (self->at_work || !self->queue.empty())) {
        const std::chrono::milliseconds left((deadline - self->clock.now()) / kMs);
        if (left.count() <= 0) break;
        co_await wait(self->ended, left);
    }
    if (!self->queue.empty())
        log::warn("sessions were not published before the end",
                  {{"sessions", static_cast<std::int64_t>(self->queue.size())}});
    self->stop();
    while (self->publishing) co_await wait(self->ended, std::chrono::hours(24));
}

Publisher::Publisher(asio::io_context& io, PublisherOptions options, MetadataStore& store,
                     std::function<NodeRecord()> record, std::shared_ptr<NodeMetrics> metrics,
                     const Clock& clock)
    : core_(std::make_shared<Core>(io, std::move(options), store, std::move(record),
                                   std::move(metrics), clock)) {}

Publisher::~Publisher() {
    stop();
}

void Publisher::stop() {
    core_->told_drained = {};
    core_->stop();
}

void Publisher::start() {
    const auto rethrow = [](std::exception_ptr failure) {
        if (failure) std::rethrow_exception(failure);
    };
    core_->beating = core_->publishing = true;
    asio::co_spawn(core_->io, Core::heartbeat(core_), rethrow);
    asio::co_spawn(core_->io, Core::publish_sessions(core_), rethrow);
}

Task<void> Publisher::leave() {
    return Core::leave(core_);
}

Task<void> Publisher::flush() {
    return Core::flush(core_);
}

Task<SessionHint> Publisher::find_hint(SessionKey key, std::int64_t history_tokens,
                                       std::int64_t router_epoch) {
    return Core::find_hint(core_, key, history_tokens, router_epoch);
}

void Publisher::session_changed(const SessionKey& key, std::int64_t tokens, std::int64_t turn) {
    core_->enqueue(key, tokens, turn);
}

void Publisher::holds(const SessionKey& key, std::int64_t epoch, std::int64_t tokens) {
    SessionEpoch& known = core_->epochs.touch(key);
    known.epoch = std::max(known.epoch, epoch);
    known.tokens = tokens;
    known.settled = true;
}

void Publisher::forget(const SessionKey& key) {
    SessionEpoch& known = core_->epochs.touch(key);
    known.tokens = 0;
    known.settled = false;
    std::erase_if(core_->queue, [&key](const Core::Update& update) { return update.key == key; });
}

std::int64_t Publisher::epoch(const SessionKey& key) const {
    const auto known = core_->epochs.find(key);
    return known ? known->epoch : 1;
}

void Publisher::tell_now() {
    core_->beat.cancel();
}

Task<Result<std::vector<NodeRecord>>> Publisher::nodes() {
    return Core::live_nodes(core_);
}

void Publisher::on_drained(std::function<void(bool)> told) {
    core_->told_drained = std::move(told);
}

bool Publisher::is_drained() const {
    return core_->drained;
}

Task<Result<void>> Publisher::hand_over(SessionKey key, SessionRecord record) {
    return Core::hand_over(core_, key, std::move(record));
}

std::size_t Publisher::queued() const {
    return core_->queue.size();
}

}  // namespace hearth
