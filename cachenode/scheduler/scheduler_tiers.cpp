// The scheduler's dealings with tiers: how turns use pages, what is written behind and read back.
#include <algorithm>
#include <functional>
#include <iterator>

#include "cachenode/scheduler/scheduler_state.h"

namespace hearth {
PrefixUse Scheduler::State::use_of(const Turn& turn) const {
    const TurnRequest& request = turn.request;
    PrefixUse use;
    use.now = clock_.now();
    use.follow_up = turn.number >= 2;
    use.follow_up_bonus = request.follow_up_bonus.value_or(options_.follow_up_bonus);
    if (request.keep_for > 0) use.keep_until = use.now + request.keep_for;
    if (request.session) use.owner = session_tag(*request.session);
    return use;
}

void Scheduler::State::expire() {
    constexpr MonotonicNs kPause = kSecond;
    if (options_.kv_ttl == 0 || clock_.now() - expired_at_ < kPause) return;
    expired_at_ = clock_.now();
    tier_.tree().expire(expired_at_);
}

Result<void> Scheduler::State::open_disk(DiskTierOptions options) {
    options.page_bytes = engine_->kv_layout().page_bytes();
    options.fingerprint = options_.model_fingerprint;
    options.pages_pending_max = std::max<std::int64_t>(8, tier_.pool().pages_total() / 4);
    auto opened = DiskTier::open(options, clock_, [this] { inbox_.wake(); });
    if (!opened) return opened.error();
    disk_ = std::move(*opened);
    publish();
    return {};
}

// Pages that the disk has and memory has not, if they are quicker read than computed.
Restores::Start Scheduler::State::begin_restore(Turn& turn) {
    const TurnRequest& request = turn.request;
    const bool is_read = request.cache_read && options_.cache;
    if (disk_ == nullptr || turn.was_looked_for || !is_read) return Restores::Start::kNothing;
    if (tier_.pages_available() <= turn.refused_with) return Restores::Start::kNoMemory;
    Restores::Question question;
    question.turn = turn.id;
    question.salt = request.salt;
    question.tokens = request.prompt;
    question.tokens.insert(question.tokens.end(), request.forced.begin(), request.forced.end());
    question.tokens.pop_back();  // The last one gives the first logits.
    turn.number = accounts_.turn_number(request);
    question.use = use_of(turn);
    question.prefill_tokens_per_s = accounts_.prefill_tokens_per_s();
    const Restores::Start start = restores_.start(*disk_, std::move(question));
    turn.was_looked_for = start != Restores::Start::kNoMemory;
    turn.was_dearer = start == Restores::Start::kDearer;
    if (start == Restores::Start::kNoMemory) turn.refused_with = tier_.pages_available();
    return start;
}

bool Scheduler::State::take_restored() {
    std::vector<Restores::Finished> finished = restores_.take_finished();
    for (Restores::Finished& done : finished) {
        if (done.then) {
            done.then();
            continue;
        }
        const auto at = std::find_if(restoring_.begin(), restoring_.end(),
                                     [&](const auto& turn) { return turn->id == done.turn; });
        if (at == restoring_.end()) continue;  // It was cancelled; its pages are cached.
        Turn& turn = **at;
        turn.held = std::move(done.held);
        turn.in_memory = done.in_memory;
        turn.was_restored = true;
        turn.was_corrupt = done.was_corrupt;
        waiting_.push_front(std::move(*at));
        restoring_.erase(at);
    }
    return !finished.empty();
}

KvView Scheduler::State::view() {
    KvView view{tier_, accounts_.ledger(), disk_.get(), clock_.now()};
    view.turns = &turns_;
    view.is_busy = [this](const SessionKey& session) {
        for (const auto* list : {&running_, &waiting_, &restoring_})
            for (const auto& turn : *list)
                if (turn->request.session == session) return true;
        return false;
    };
    if (disk_ == nullptr) return view;
    view.write_behind = [this](const std::string& salt, std::span<const TokenId> tokens) {
        write_behind(salt, tokens);
    };
    view.restore = [this](const std::string& salt, std::vector<TokenId> tokens,
                          const PrefixUse& use, KvView::Then then) {
        Restores::Question question{.salt = salt, .tokens = std::move(tokens), .use = use};
        question.then = [this, then = std::move(then)] {
            KvView later = this->view();
            then(later);
        };
        return restores_.start(*disk_, std::move(question)) == Restores::Start::kStarted;
    };
    return view;
}

bool Scheduler::State::post(std::function<void(KvView&)> job) {
    return inbox_.call([this, job = std::move(job)] {
        KvView now = view();
        job(now);
    });
}

void Scheduler::State::write_behind(const std::string& salt, std::span<const TokenId> tokens) {
    if (disk_ == nullptr) return;
    auto& list = disk_->write_behind(tier_.tree().peek(salt, tokens)) ? writing_ : unwritten_;
    list.push_back({salt, {tokens.begin(), tokens.end()}});
    constexpr std::size_t kPrefixesMax = 1'024;
    if (writing_.size() + unwritten_.size() <= kPrefixesMax) return;
    (writing_.empty() ? unwritten_ : writing_).pop_front();
}

// Memory is wanted that a late disk pins; what it gives up is written when it is on time again, if
// it is here then.
void Scheduler::State::shed_writes() {
    if (disk_ == nullptr || disk_->shed() == 0) return;
    unwritten_.insert(unwritten_.begin(), std::make_move_iterator(writing_.begin()),
                      std::make_move_iterator(writing_.end()));
    writing_.clear();
}

void Scheduler::State::stored_more(const CanonicalTurn& turn, std::int64_t tokens) {
    write_behind(turn.salt, std::span(turn.tokens).first(static_cast<std::size_t>(tokens)));
    if (turn.session && observer_.session_grown)
        observer_.session_grown(*turn.session, turn.turn, tokens);
}

// What found the queue full, oldest first: it would be evicted first.
void Scheduler::State::write_rest() {
    if (disk_ == nullptr) return;
    if (!disk_->is_writing()) writing_.clear();
    while (!unwritten_.empty() && disk_->has_room()) {
        Prefix& next = unwritten_.front();
        PrefixTree::Lease pages = tier_.tree().peek(next.salt, next.tokens);
        // What is pinned cannot be evicted for those who were promised it.
        if (tier_.pages_available() < 0 || !disk_->write_behind(std::move(pages))) return;
        writing_.push_back(std::move(next));
        unwritten_.pop_front();
    }
}

}  // namespace hearth
