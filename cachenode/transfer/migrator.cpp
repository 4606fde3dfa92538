// Heirs, costs, and the loop that copies turns to heirs.
#include "cachenode/transfer/migrator.h"

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <exception>
#include <limits>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cachenode/transfer/arrival.h"
#include "common/base/log.h"
#include "common/wire/placement.h"

namespace hearth {
namespace {

constexpr std::size_t kQueueMax = 4'096;    // Sessions whose last turn waits to be copied.
constexpr std::size_t kCopiesMax = 65'536;  // Sessions of which we know what the heir has.
constexpr std::int64_t kPullsMax = 16;      // At once; beyond, turns compute.
// A turn's canonical pass runs right after it; what it adds should go along.
constexpr MonotonicNs kSettle = 50 * kMs;
constexpr double kPullOverheadS = 0.002;
// Between rounds of an operator's drain; longer while the heirs have no room.
constexpr std::chrono::milliseconds kDrainPause{500}, kDrainPauseMax{4'000};
constexpr MonotonicNs kNever = std::numeric_limits<MonotonicNs>::max();

Result<void> outcome(const Result<PushAnswer>& pushed) {
    if (!pushed) return pushed.error();
    return {};
}

}  // namespace

class Migrator::Core {
  public:
    using Self = std::shared_ptr<Core>;
    Core(asio::io_context& io_context, MigratorOptions settings, MigratorParts all,
         const Clock& time)
        : io(io_context),
          options(std::move(settings)),
          parts(std::move(all)),
          clock(time),
          work(io_context),
          next_round(io_context) {}

    // Ready nodes of this model, without this one.
    struct Heirs {
        std::vector<NodeRecord> nodes;
        SeatTable table;
        // The first of the session's order: where the router will look for it. Not of no nodes.
        const NodeRecord& of(const SessionKey& key) const {
            return nodes[table.top(key, 1).seats[0]];
        }
    };
    static Task<Heirs> heirs(Self self);
    static Task<std::optional<NodeRecord>> heir_of(Self self, SessionKey key);
    static Task<Result<PushAnswer>> push(Self self, NodeRecord heir,
                                         std::shared_ptr<HeldSession> held, bool owner);
    static Task<std::int64_t> fetch(Self self, TurnRequest& turn, double prefill_tokens_per_s);
    static Task<Result<std::int64_t>> pull(Self self, TurnRequest& turn);
    static Task<void> copy_loop(Self self);
    static Task<void> copy(Self self, SessionKey key, std::string salt);
    static Task<Result<PushAnswer>> give(Self self, NodeRecord heir,
                                         std::shared_ptr<HeldSession> held, bool owner);
    static Task<void> give_kept(Self self, NodeRecord heir, SessionKey key, std::string salt);
    static Task<void> hand_off_kept(Self self, MonotonicNs deadline);
    static Task<bool> fetch_kept(Self self, SessionKey key, std::string salt, std::string holder,
                                 std::function<bool()> is_here);
    static Task<void> drain_loop(Self self);
    // Returns how many sessions have gone.
    static Task<std::int64_t> hand_off(Self self, MonotonicNs deadline, bool by_operator);
    static Task<bool> hand_over(Self self, SessionKey key, std::string salt, bool is_last);
    static Task<void> pause(asio::steady_timer& timer, std::chrono::milliseconds time);
    bool is_worth_it(std::int64_t tokens, double prefill_tokens_per_s);
    void note_speed(std::int64_t bytes, double took_s);  // Of a pull.

    struct Waiting {
        SessionKey key;
        std::string salt;
        MonotonicNs since = 0;
    };
    struct Copy {
        std::string generation;    // Of the heir's node.
        std::int64_t pages = 0;    // Whole ones, of the session, that were put there.
        std::string kept_by = {};  // The generation that has what is kept beside KV ...
        std::uint64_t kept = 0;    // ... up to this number.
    };

    asio::io_context& io;
    MigratorOptions options;
    MigratorParts parts;
    KeptTexts texts;
    const Clock& clock;
    asio::steady_timer work;  // Cancelled to wake the loop.
    std::deque<Waiting> queue;
    std::unordered_map<SessionKey, Copy> copies;
    double bytes_per_s = 0;  // Of pulls; 0 = unknown.
    std::int64_t pulls = 0;
    bool stopped = false;
    asio::steady_timer next_round;  // Of a drain; cancelled to wake its loop.
    bool drained = false;           // By an operator.
    bool draining = false;          // The loop runs.
};

Task<void> Migrator::Core::pause(asio::steady_timer& timer, std::chrono::milliseconds time) {
    timer.expires_after(time);
    boost::system::error_code ignored;  // A cancelled wait is a wake-up.
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
}

Task<Migrator::Core::Heirs> Migrator::Core::heirs(Self self) {
    Heirs out;
    auto nodes = co_await self->parts.publisher->nodes();
    if (!nodes) co_return out;
    std::erase_if(*nodes, [&self](const NodeRecord& node) {
        return node.node_id == self->options.node_id || node.state != NodeState::kReady ||
               node.model_fingerprint != self->options.fingerprint;
    });
    std::vector<Seat> seats;
    for (const NodeRecord& node : *nodes) seats.push_back({node_hash(node.node_id), node.weight});
    out.nodes = std::move(*nodes);
    out.table = SeatTable(seats);
    co_return out;
}

Task<std::optional<NodeRecord>> Migrator::Core::heir_of(Self self, SessionKey key) {
    const Heirs all = co_await heirs(self);
    if (all.nodes.empty()) co_return std::nullopt;
    co_return all.of(key);
}

Task<Result<PushAnswer>> Migrator::Core::push(Self self, NodeRecord heir,
                                              std::shared_ptr<HeldSession> held, bool owner) {
    held->session.epoch = self->parts.publisher->epoch(held->session.key);
    const auto timeout = self->options.push_timeout;
    auto answer = co_await self->parts.transport->push(heir.address, *held, owner, timeout);
    if (answer && answer->has_gap) {
        held->session.first_page = std::min<std::int64_t>(answer->pages, std::ssize(held->pages));
        answer = co_await self->parts.transport->push(heir.address, *held, owner, timeout);
        if (answer && answer->has_gap)
            answer = make_error(ErrorCode::kExhausted, "the heir loses pages as fast as they come");
    }
    const Result<void> result = outcome(answer);
    self->parts.metrics->done(owner ? TransferKind::kHandOff : TransferKind::kReplicate, result);
    const std::int64_t pages = std::ssize(held->pages) - held->session.first_page;
    if (answer)
        self->parts.metrics->sent(pages *
                                  static_cast<std::int64_t>(self->parts.gate->page_bytes()));
    co_return answer;
}

// To load costs the session's bytes at the speed of earlier pulls; to compute, its tokens at the
// speed of earlier prefills. What is not known yet is tried.
bool Migrator::Core::is_worth_it(std::int64_t tokens, double prefill_tokens_per_s) {
    if (bytes_per_s <= 0 || prefill_tokens_per_s <= 0) return true;
    const double load_s =
        kPullOverheadS + static_cast<double>(tokens) * options.kv_bytes_per_token / bytes_per_s;
    if (load_s < static_cast<double>(tokens) / prefill_tokens_per_s) return true;
    bytes_per_s *= 1.1;  // One slow peer must not count for ever.
    return false;
}

// By session, else by the names of the prompt's pages; how many tokens of it are here then.
Task<Result<std::int64_t>> Migrator::Core::pull(Self self, TurnRequest& turn) {
    PullQuestion question{*turn.session, turn.salt, {}};
    Result<std::int64_t> stored = std::int64_t{0};
    for (const bool by_names : {false, true}) {
        if (by_names) {
            const std::uint64_t model =
                std::strtoull(self->options.fingerprint.c_str(), nullptr, 16);
            question.names = page_names(model, turn.salt, turn.prompt);
            if (question.names.empty()) break;
        }
        Arrival arrival(*self->parts.gate, question.key, question.salt);
        const MonotonicNs begun = self->clock.now();
        const Result<void> pulled = co_await self->parts.transport->pull(
            turn.hint.holder, question, arrival, self->options.pull_timeout);
        if (pulled) {
            stored = co_await arrival.finish();
        } else {
            stored = pulled.error();
        }
        self->parts.metrics->received(arrival.bytes());
        self->note_speed(arrival.bytes(), seconds(self->clock.now() - begun));
        // A turn that only a router's old memory brought here leaves the session its holder's.
        if (stored && turn.hint.moved_to.empty())
            self->parts.publisher->holds(question.key, arrival.session()->epoch + 1, *stored);
        if (stored || stored.error().code != ErrorCode::kNotFound) break;
    }
    co_return stored;
}

void Migrator::Core::note_speed(std::int64_t bytes, double took_s) {
    if (bytes <= 0 || took_s <= 0) return;
    // Of a small session the overhead is nearly all, and says nothing of the wire.
    const double wire_s = std::max(took_s - kPullOverheadS, took_s / 10);
    const double speed = static_cast<double>(bytes) / wire_s;
    bytes_per_s = bytes_per_s > 0 ? 0.8 * bytes_per_s + 0.2 * speed : speed;
}

Task<std::int64_t> Migrator::Core::fetch(Self self, TurnRequest& turn,
                                         double prefill_tokens_per_s) {
    SessionHint& hint = turn.hint;
    if (hint.holder.empty() || self->stopped || self->pulls >= kPullsMax) co_return 0;
    if (!self->is_worth_it(hint.tokens, prefill_tokens_per_s)) {
        self->parts.metrics->declined();
        co_return 0;
    }
    ++self->pulls;
    const Result<std::int64_t> stored = co_await pull(self, turn);
    --self->pulls;
    self->parts.metrics->done(TransferKind::kPull,
                              stored ? Result<void>() : Result<void>(stored.error()));
    if (stored) co_return *stored;
    hint.was_corrupt = stored.error().code == ErrorCode::kCorrupt;
    // Nobody listens there: the node's record has not expired yet.
    if (stored.error().code == ErrorCode::kUnavailable) hint.node_alive = false;
    log::warn("a session could not be pulled", {{"error", stored.error().message}});
    co_return 0;
}

// Only the pages that the heir has not got from us before.
Task<Result<PushAnswer>> Migrator::Core::give(Self self, NodeRecord heir,
                                              std::shared_ptr<HeldSession> held, bool owner) {
    const SessionKey key = held->session.key;
    const Copy before = self->copies[key];
    const std::int64_t whole = held->session.stored / engine::kPageTokens;
    if (before.generation == heir.generation)
        held->session.first_page = std::min(before.pages, whole);
    auto pushed = co_await push(self, heir, held, owner);
    if (self->copies.size() >= kCopiesMax) self->copies.clear();
    Copy& after = self->copies[key];
    after.generation = pushed ? heir.generation : std::string();
    after.pages = pushed ? std::min(whole, pushed->stored / engine::kPageTokens) : 0;
    co_return pushed;
}

Task<void> Migrator::Core::copy(Self self, SessionKey key, std::string salt) {
    const auto heir = co_await heir_of(self, key);
    if (!heir) co_return;
    co_await give_kept(self, *heir, key, salt);
    const std::shared_ptr<HeldSession> held = co_await self->parts.gate->hold(key, salt);
    if (held == nullptr) co_return;
    const auto pushed = co_await give(self, *heir, held, false);
    if (!pushed)
        log::debug("a turn could not be copied to its heir", {{"error", pushed.error().message}});
}

Task<void> Migrator::Core::copy_loop(Self self) {
    while (!self->stopped) {
        const MonotonicNs now = self->clock.now();
        const MonotonicNs ripe =
            self->queue.empty() ? now + 3'600 * kSecond : self->queue.front().since + kSettle;
        if (now < ripe) {
            const std::chrono::milliseconds left((ripe - now) / kMs + 1);
            co_await pause(self->work, left);
            continue;
        }
        const Waiting next = std::move(self->queue.front());
        self->queue.pop_front();
        co_await copy(self, next.key, next.salt);
    }
}

// True if nothing of the session is here any more.
Task<bool> Migrator::Core::hand_over(Self self, SessionKey key, std::string salt, bool is_last) {
    const std::shared_ptr<HeldSession> held = co_await self->parts.gate->hold(key, salt);
    if (held == nullptr) co_return co_await self->parts.gate->forget_empty(key, salt);
    const auto heir = co_await heir_of(self, key);
    if (!heir) co_return false;
    const auto pushed = co_await give(self, *heir, held, !held->is_busy);
    if (!pushed) {
        log::warn("a session could not be handed over",
                  {{"heir", heir->node_id}, {"error", pushed.error().message}});
        co_return false;
    }
    if (held->is_busy) co_return false;  // Its pages are there; what its turn adds follows.
    // No room for all of it, here or there: next time there may be.
    if ((held->has_more || pushed->stored < held->session.stored) && !is_last) co_return false;
    co_await give_kept(self, *heir, key, salt);
    // Verified there; now it is the heir's for routers too, and only then our copy goes.
    SessionRecord record;
    record.node_id = heir->node_id;
    record.generation = heir->generation;
    record.epoch = held->session.epoch + 1;
    record.tokens = pushed->stored;
    record.turn = held->session.turn;
    const Result<void> told = co_await self->parts.publisher->hand_over(key, record);
    if (!told) co_return false;
    self->copies.erase(key);
    co_await self->parts.gate->release(held);
    co_return true;
}

// What the heir has not got from us before. A failure costs the client a 404, which says so.
Task<void> Migrator::Core::give_kept(Self self, NodeRecord heir, SessionKey key, std::string salt) {
    while (!self->stopped && self->texts.newer) {
        if (self->copies.size() >= kCopiesMax) self->copies.clear();
        const Copy& before = self->copies[key];
        const std::uint64_t after = before.kept_by == heir.generation ? before.kept : 0;
        KeptTexts::Batch batch = self->texts.newer(key, salt, after);
        if (batch.text.empty()) co_return;
        const Transport::Keeper to{heir.address, key, salt};
        const Result<void> pushed = co_await self->parts.transport->push_kept(
            to, std::move(batch.text), self->options.push_timeout);
        if (!pushed) {
            log::warn("kept responses could not be handed over",
                      {{"heir", heir.node_id}, {"error", pushed.error().message}});
            co_return;
        }
        Copy& now = self->copies[key];
        now.kept_by = heir.generation;
        now.kept = batch.last;
    }
}

// Before the KV, which takes longer; also of sessions that have no KV here any more.
Task<void> Migrator::Core::hand_off_kept(Self self, MonotonicNs deadline) {
    if (!self->texts.sessions) co_return;
    const Heirs all = co_await heirs(self);
    if (all.nodes.empty() || !self->texts.sessions) co_return;
    const auto sessions = self->texts.sessions();
    for (const auto& [key, salt] : sessions) {
        if (self->stopped || self->clock.now() >= deadline) co_return;
        co_await give_kept(self, all.of(key), key, salt);
    }
}

Task<bool> Migrator::Core::fetch_kept(Self self, SessionKey key, std::string salt,
                                      std::string holder, std::function<bool()> is_here) {
    constexpr std::size_t kAskedMax = 4;
    auto nodes = co_await self->parts.publisher->nodes();
    if (!nodes || !self->texts.take) co_return false;
    std::erase_if(*nodes,
                  [&](const NodeRecord& node) { return node.node_id == self->options.node_id; });
    std::vector<Seat> seats;
    for (const NodeRecord& node : *nodes) seats.push_back({node_hash(node.node_id), node.weight});
    std::vector<std::uint32_t> order = SeatTable(seats).order(key);
    std::stable_partition(order.begin(), order.end(),
                          [&](std::uint32_t seat) { return (*nodes)[seat].node_id == holder; });
    order.resize(std::min(order.size(), kAskedMax));
    for (const std::uint32_t seat : order) {
        const Transport::Keeper from{(*nodes)[seat].address, key, salt};
        for (std::uint64_t after = 0; self->texts.take && !is_here();) {
            const auto batch =
                co_await self->parts.transport->pull_kept(from, after, self->options.pull_timeout);
            if (!batch || batch->last <= after || !self->texts.take) break;
            if (!self->texts.take(key, salt, batch->text)) break;
            after = batch->last;
        }
        if (is_here()) co_return true;
    }
    co_return false;
}

Task<void> Migrator::Core::drain_loop(Self self) {
    std::chrono::milliseconds rest = kDrainPause;
    while (self->drained && !self->stopped) {
        const std::int64_t moved = co_await hand_off(self, kNever, true);
        rest = moved > 0 ? kDrainPause : std::min(2 * rest, kDrainPauseMax);
        co_await pause(self->next_round, rest);
    }
    self->draining = false;
}

Task<std::int64_t> Migrator::Core::hand_off(Self self, MonotonicNs deadline, bool by_operator) {
    const SessionKey anyone{};
    const auto peer = co_await heir_of(self, anyone);
    co_await hand_off_kept(self, deadline);
    const auto sessions = co_await self->parts.gate->sessions();
    auto left = static_cast<std::int64_t>(sessions.size());
    std::int64_t moved = 0;
    for (const auto& [key, salt] : sessions) {
        self->parts.metrics->drain_remaining(left);
        if (!peer || self->stopped || self->clock.now() >= deadline) break;
        if (by_operator && !self->drained) break;
        const bool done = co_await hand_over(self, key, salt, !by_operator);
        moved += done ? 1 : 0;
        left -= done ? 1 : 0;
    }
    self->parts.metrics->drain_remaining(left);
    if (sessions.empty() || (by_operator && moved == 0)) co_return moved;
    log::info("sessions handed over", {{"moved", moved},
                                       {"of", static_cast<std::int64_t>(sessions.size())},
                                       {"peers", peer.has_value()}});
    co_return moved;
}

Migrator::Migrator(asio::io_context& io, MigratorOptions options, MigratorParts parts,
                   const Clock& clock)
    : core_(std::make_shared<Core>(io, std::move(options), std::move(parts), clock)) {}

Migrator::~Migrator() {
    stop();
}

void Migrator::start() {
    if (core_->options.replicate == 0) return;
    asio::co_spawn(core_->io, Core::copy_loop(core_), [](std::exception_ptr failure) {
        if (failure) std::rethrow_exception(failure);
    });
}

void Migrator::stop() {
    core_->stopped = true;
    core_->work.cancel();
    core_->next_round.cancel();
}

Task<std::int64_t> Migrator::fetch(TurnRequest& turn, double prefill_tokens_per_s) {
    return Core::fetch(core_, turn, prefill_tokens_per_s);
}

void Migrator::turn_done(const SessionKey& key, const std::string& salt) {
    if (core_->options.replicate == 0 || core_->stopped) return;
    for (const Core::Waiting& waiting : core_->queue)
        if (waiting.key == key && waiting.salt == salt) return;
    if (core_->queue.size() >= kQueueMax) core_->queue.pop_front();
    core_->queue.push_back({key, salt, core_->clock.now()});
    if (core_->queue.size() == 1) core_->work.cancel();
}

void Migrator::on_kept(KeptTexts kept) {
    core_->texts = std::move(kept);
}

Task<bool> Migrator::fetch_kept(SessionKey key, std::string salt, std::string holder,
                                std::function<bool()> is_here) {
    return Core::fetch_kept(core_, key, std::move(salt), std::move(holder), std::move(is_here));
}

Task<void> Migrator::hand_off(MonotonicNs deadline) {
    (void)co_await Core::hand_off(core_, deadline, false);
}

void Migrator::drain(bool drained) {
    core_->drained = drained;
    core_->next_round.cancel();
    if (!drained || core_->draining) return;
    core_->draining = true;
    asio::co_spawn(core_->io, Core::drain_loop(core_), [](std::exception_ptr failure) {
        if (failure) std::rethrow_exception(failure);
    });
}

}  // namespace hearth
