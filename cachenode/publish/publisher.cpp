// Publisher: two loops (heartbeat, session queue) and the look-up of what other nodes published.
#include "cachenode/publish/publisher.h"

#include <algorithm>
#include <deque>
#include <exception>
#include <utility>
#include <vector>

#include "cachenode/publish/session_epochs.h"
#include "common/base/log.h"

namespace hearth {

namespace {

// A turn adds more than this to a session, so a history this much longer than what we hold means
// that another node served a turn in between.
constexpr std::int64_t kTurnTokensMin = 16;
// Until the first heartbeat arrives, so many attempts are made within one heartbeat's time.
constexpr int kJoinAttempts = 10;

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
    static Task<void> publish_sessions(Self self);
    static Task<SessionHint> find_hint(Self self, SessionKey key, std::int64_t history_tokens);
    static Task<bool> lives(Self self, std::string node_id, std::string generation);
    static Task<void> leave(Self self);
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
    asio::steady_timer beat, work, ended;  // Cancelled to wake their loops.
    int loops = 0;
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
    while (!self->stopped) {
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
        if (self->stopped) break;
        const bool eager = !self->joined && self->failures < kJoinAttempts;
        auto pause = self->options.heartbeat;
        if (eager) pause /= kJoinAttempts;
        co_await wait(self->beat, pause);
    }
    --self->loops;
    self->ended.cancel();
}

Task<void> Publisher::Core::publish_sessions(Self self) {
    while (!self->stopped) {
        if (self->queue.empty()) {
            co_await wait(self->work, std::chrono::hours(24));
            continue;
        }
        const Update update = std::move(self->queue.front());
        self->queue.pop_front();
        const auto ttl = self->options.session_ttl;
        const Result<void> told =
            co_await self->store.publish_session(update.key, update.record, ttl);
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
    --self->loops;
    self->ended.cancel();
}

void Publisher::Core::enqueue(const SessionKey& key, std::int64_t tokens, std::int64_t turn) {
    SessionEpoch& known = epochs.touch(key);
    known.tokens = tokens;
    SessionRecord record;
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

Task<bool> Publisher::Core::lives(Self self, std::string node_id, std::string generation) {
    const MonotonicNs now = self->clock.now();
    const MonotonicNs stale = self->options.heartbeat.count() * kMs;
    if (self->nodes_read == 0 || now - self->nodes_read > stale) {
        auto read = co_await self->store.nodes();
        if (!read.ok()) co_return true;  // Unknown: do not call a node lost without proof.
        self->nodes = std::move(*read);
        self->nodes_read = now;
    }
    for (const NodeRecord& node : self->nodes)
        if (node.node_id == node_id && node.generation == generation) co_return true;
    co_return false;
}

Task<SessionHint> Publisher::Core::find_hint(Self self, SessionKey key,
                                             std::int64_t history_tokens) {
    SessionHint hint;
    const SessionEpoch before = self->epochs.touch(key);
    if (history_tokens == 0 || (before.settled && history_tokens < before.tokens + kTurnTokensMin))
        co_return hint;
    const auto found = co_await self->store.find_session(key);
    if (self->stopped) co_return hint;
    self->metrics->directory_done(DirectoryOperation::kLookup, outcome_of(found));
    if (!found.ok()) co_return hint;
    SessionEpoch& entry = self->epochs.touch(key);
    entry.settled = true;
    if (!found->has_value()) co_return hint;
    const SessionRecord record = **found;
    const bool own_node = record.node_id == self->options.node_id;
    const bool own = own_node && record.generation == self->options.generation;
    entry.epoch = std::max(entry.epoch, own ? record.epoch : record.epoch + 1);
    if (own) co_return hint;
    hint.known = true;
    hint.tokens = record.tokens;
    hint.node_alive = false;  // An earlier life of this very node is over.
    if (!own_node) hint.node_alive = co_await lives(self, record.node_id, record.generation);
    co_return hint;
}

Task<void> Publisher::Core::leave(Self self) {
    self->stop();
    while (self->loops > 0) co_await wait(self->ended, std::chrono::hours(24));
    const std::string node_id = self->options.node_id;
    const std::string generation = self->options.generation;
    const std::string kind = "leave";
    const Result<void> removed = co_await self->store.remove_node(node_id, generation);
    if (!removed.ok())
        log::warn("could not remove the node record; it expires by itself",
                  {{"error", removed.error().message}});
    (void)co_await self->store.append_event(kind, node_id, generation);
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
    core_->stop();
}

void Publisher::start() {
    const auto rethrow = [](std::exception_ptr failure) {
        if (failure) std::rethrow_exception(failure);
    };
    core_->loops = 2;
    asio::co_spawn(core_->io, Core::heartbeat(core_), rethrow);
    asio::co_spawn(core_->io, Core::publish_sessions(core_), rethrow);
}

Task<void> Publisher::leave() {
    return Core::leave(core_);
}

Task<SessionHint> Publisher::find_hint(SessionKey key, std::int64_t history_tokens) {
    return Core::find_hint(core_, key, history_tokens);
}

void Publisher::session_changed(const SessionKey& key, std::int64_t tokens, std::int64_t turn) {
    core_->enqueue(key, tokens, turn);
}

std::size_t Publisher::queued() const {
    return core_->queue.size();
}

}  // namespace hearth
