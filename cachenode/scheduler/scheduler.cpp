// One step at a time: take mail, admit, batch, run the engine, sample, end turns, publish counters.
#include <algorithm>
#include <string>
#include <utility>

#include "cachenode/scheduler/scheduler_state.h"

namespace hearth {
void Scheduler::State::stop() {
    inbox_.close();
    if (thread_.joinable()) thread_.join();
    take_mail();
    passes_.end_all(clock_.now());
    for (auto& turn : running_) end(*turn, FinishReason::kCancelled);
    for (auto& turn : waiting_) end(*turn, FinishReason::kCancelled);
    for (auto& turn : restoring_) end(*turn, FinishReason::kCancelled);
    forget_ended();
    disk_.reset();  // Writes what is queued.
    restores_.abandon();
    publish();
    send_last_events();
}

bool Scheduler::State::step() {
    expire();
    bool has_worked = take_mail();
    has_worked |= disk_ != nullptr && disk_->poll();
    has_worked |= take_restored();
    write_rest();
    has_worked |= end_overdue();
    has_worked |= admit_waiting();
    has_worked |= run_batch();
    if (!has_worked) return false;
    forget_ended();
    publish();
    send_last_events();
    return true;
}

Result<TurnId> Scheduler::State::submit(TurnRequest turn) {
    const auto too_large = [](const std::string& what, std::int64_t has, std::int64_t limit) {
        return make_error(ErrorCode::kTooLarge, what + ": prompt and max_tokens need " +
                                                    std::to_string(has) + " tokens, limit is " +
                                                    std::to_string(limit));
    };
    const auto prompt = static_cast<std::int64_t>(turn.prompt.size());
    if (prompt == 0) return make_error(ErrorCode::kInvalidArgument, "prompt: empty");
    if (turn.max_tokens <= 0) {
        return make_error(ErrorCode::kInvalidArgument, "max_tokens: must be at least 1");
    }
    const std::int32_t vocab_size = engine_->config().vocab_size;
    for (const auto* tokens : {&turn.prompt, &turn.forced}) {
        for (const TokenId id : *tokens) {
            if (id >= 0 && id < vocab_size) continue;
            return make_error(ErrorCode::kInvalidArgument,
                              "prompt: no token has the id " + std::to_string(id));
        }
    }
    if (std::ssize(turn.forced) > turn.max_tokens) {
        return make_error(ErrorCode::kInvalidArgument, "more forced tokens than max_tokens");
    }
    const std::int64_t context = engine_->config().context_length;
    const std::int64_t in_kv = tier_.pool().pages_total() * engine::kPageTokens;
    if (turn.max_tokens > context - prompt) {
        return too_large("context_length", prompt + std::min(turn.max_tokens, context), context);
    }
    if (pages_for(prompt + turn.max_tokens) * engine::kPageTokens > in_kv) {
        return too_large("kv_memory", prompt + turn.max_tokens, in_kv);
    }
    if (turn.arrived == 0) turn.arrived = clock_.now();
    return inbox_.submit(std::move(turn));
}

bool Scheduler::State::take_mail() {
    Inbox::Mail mail = inbox_.take();
    for (SubmittedTurn& submitted : mail.turns) {
        waiting_.push_back(std::make_unique<Turn>());
        waiting_.back()->id = submitted.id;
        waiting_.back()->request = std::move(submitted.request);
    }
    for (const TurnId id : mail.cancels) cancel_now(id);
    for (const auto& call : mail.calls) call();
    return !mail.turns.empty() || !mail.cancels.empty() || !mail.calls.empty();
}

void Scheduler::State::cancel_now(TurnId id) {
    for (auto* list : {&running_, &waiting_, &restoring_}) {
        for (auto& turn : *list) {
            if (turn->id == id && !turn->has_ended) end(*turn, FinishReason::kCancelled);
        }
    }
    forget_ended();
}

bool Scheduler::State::end_overdue() {
    const MonotonicNs now = clock_.now();
    bool has_ended = false;
    for (auto* list : {&running_, &waiting_, &restoring_}) {
        for (auto& turn : *list) {
            if (turn->request.deadline == 0 || now < turn->request.deadline) continue;
            end(*turn, FinishReason::kError,
                make_error(ErrorCode::kTimeout, "the turn's deadline has passed"));
            has_ended = true;
        }
    }
    forget_ended();
    return has_ended;
}

// Admits from the front of the queue while there are slots and pages: nobody is overtaken, so a
// long prompt is not starved by short ones.
bool Scheduler::State::admit_waiting() {
    bool has_admitted = false;
    while (!waiting_.empty() &&
           static_cast<std::int32_t>(running_.size()) < options_.sequences_max) {
        const Restores::Start restore = begin_restore(*waiting_.front());
        if (restore == Restores::Start::kStarted) {
            restoring_.push_back(std::move(waiting_.front()));
            waiting_.pop_front();
            has_admitted = true;
            continue;
        }
        // Memory that a restore lacks the turn itself lacks too, and others are about to free some.
        const bool is_short =
            restore == Restores::Start::kNoMemory && running_.size() + restores_.running() > 0;
        if (is_short || !admit(*waiting_.front())) {
            shed_writes();
            if (passes_.size() == 0) break;
            passes_.end_all(clock_.now());
            continue;
        }
        running_.push_back(std::move(waiting_.front()));
        waiting_.pop_front();
        inbox_.left_queue(1);
        has_admitted = true;
        replay_forced(*running_.back());
    }
    forget_ended();  // Those whose whole reply was forced.
    return has_admitted;
}

bool Scheduler::State::admit(Turn& turn) {
    TurnRequest& request = turn.request;
    // With no more pages than then it would fail again (or need fewer, if others have cached its
    // prefix meanwhile: they end, and then there are more). To try costs a hash of the prompt.
    if (tier_.pages_available() <= turn.refused_with) return false;
    accounts_.count_admission_attempt();
    // What its session's pass has computed so far is this turn's history.
    if (request.session) passes_.end_those_of(*request.session, request.salt, clock_.now());
    turn.number = accounts_.turn_number(request);
    const auto prompt = static_cast<std::int64_t>(request.prompt.size());
    const bool is_read = request.cache_read && options_.cache;
    SequenceSpec spec;
    spec.salt = request.salt;
    spec.tokens = request.prompt;
    spec.tokens.insert(spec.tokens.end(), request.forced.begin(), request.forced.end());
    spec.tokens_max = prompt + request.max_tokens;
    // The last token gives the first logits.
    spec.reuse_max = is_read ? std::ssize(spec.tokens) - 1 : 0;
    spec.cache_write = request.cache_write && options_.cache;
    spec.use = use_of(turn);
    turn.sequence = Sequence::admit(tier_, spec);
    turn.held.reset();
    if (turn.sequence == nullptr) {
        turn.refused_with = tier_.pages_available();
        turn.was_looked_for = false;  // What was restored for it may be gone by then.
        return false;
    }
    turn.admitted = clock_.now();
    // Of a forced reply nothing counts: hit rates are of prompts.
    const std::int64_t cached = std::min(turn.sequence->reused(), prompt - 1);
    FoundPrefix found;
    found.cached = cached;
    if (turn.was_restored) found.disk = std::max<std::int64_t>(0, cached - turn.in_memory);
    found.was_corrupt = turn.was_corrupt || turn.sequence->met_corruption();
    found.was_dearer = turn.was_dearer;
    turn.usage = accounts_.admit(request, found, tier_.tree());
    if (request.session) turns_.add(*request.session, {turn.number, clock_.now(), turn.usage});
    if (request.cache_write && options_.cache) turn.usage.cache_write_tokens = prompt - cached;
    turn.reply.emplace(tokenizer_, request);
    return true;
}

// Brings the reply to where the other node's stream broke off; it may have been at its very end.
void Scheduler::State::replay_forced(Turn& turn) {
    turn.usage.completion_tokens = std::ssize(turn.request.forced);
    for (const TokenId id : turn.request.forced) {
        const Reply::Step step = turn.reply->replay(id);
        if (!step.has_ended) continue;
        end(turn, step.finish);
        return;
    }
}

std::vector<BatchCandidate> Scheduler::State::candidates() const {
    std::vector<BatchCandidate> list;
    for (const auto& turn : running_) {
        list.push_back({turn->sequence->pending(), turn->decodes(), false});
    }
    for (std::size_t i = 0; i < passes_.size(); ++i) {
        list.push_back({passes_.sequence(i).pending(), false, true});
    }
    return list;
}

Sequence& Scheduler::State::sequence_of(std::size_t candidate) const {
    return candidate < running_.size() ? *running_[candidate]->sequence
                                       : passes_.sequence(candidate - running_.size());
}

bool Scheduler::State::run_batch() {
    passes_.end_finished(clock_.now());  // One may have found all in the tree.
    const std::vector<PlannedSlice> plan =
        plan_batch(candidates(), {.step_tokens_max = options_.step_tokens_max,
                                  .chunk_tokens_max = options_.chunk_tokens_max,
                                  .decodes_may_wait = last_had_decodes_});
    if (plan.empty()) return false;
    last_had_decodes_ = std::any_of(plan.begin(), plan.end(), [this](const PlannedSlice& planned) {
        return planned.candidate < running_.size() && running_[planned.candidate]->decodes();
    });
    run_engine(plan);
    take_results(plan);
    passes_.end_finished(clock_.now());
    return true;
}

void Scheduler::State::run_engine(const std::vector<PlannedSlice>& plan) {
    std::vector<engine::Slice> slices;
    std::size_t rows = 0;
    std::int64_t prefill = 0, decode = 0;
    for (const PlannedSlice& planned : plan) {
        const bool is_turn = planned.candidate < running_.size();
        Sequence& sequence = sequence_of(planned.candidate);
        const bool is_last = planned.tokens == sequence.pending();
        slices.push_back(sequence.next(planned.tokens));
        if (is_turn && is_last) {
            slices.back().logits = engine::Slice::Logits::kLast;
            ++rows;
        }
        const bool is_decode = is_turn && running_[planned.candidate]->decodes();
        (is_decode ? decode : prefill) += planned.tokens;
    }
    logits_.resize(rows * static_cast<std::size_t>(engine_->config().vocab_size));
    const MonotonicNs begin = clock_.now();
    engine_->step(slices, logits_);
    const double step_s = seconds(clock_.now() - begin);
    accounts_.count_step(step_s, prefill, decode);
    if (observer_.step_done) {
        const char* const phase = decode == 0 ? "prefill" : prefill == 0 ? "decode" : "mixed";
        observer_.step_done(step_s, prefill + decode, phase);
    }
}

void Scheduler::State::take_results(const std::vector<PlannedSlice>& plan) {
    const auto vocab_size = static_cast<std::size_t>(engine_->config().vocab_size);
    std::size_t row = 0;
    for (const PlannedSlice& planned : plan) {
        if (planned.candidate >= running_.size()) {
            passes_.advance(planned.candidate - running_.size(), planned.tokens, clock_.now());
            continue;
        }
        Turn& turn = *running_[planned.candidate];
        turn.sequence->advance(planned.tokens, use_of(turn));
        if (turn.sequence->pending() > 0) continue;
        take_token(turn, std::span(logits_).subspan(row++ * vocab_size, vocab_size));
    }
}

void Scheduler::State::take_token(Turn& turn, std::span<float> logits) {
    Reply::Step step = turn.reply->sample(logits);
    accounts_.count_generated(1);
    note_token_time(turn);
    ++turn.usage.completion_tokens;
    if (step.is_fed) turn.sequence->append(step.sampled.id);
    if (turn.request.wants_tokens) turn.unsent.push_back(step.sampled.id);
    TurnEvent event;
    event.text = std::move(step.text);
    if (turn.request.sampling.top_logprobs >= 0 && step.is_fed) {
        event.logprobs.push_back(std::move(step.sampled));
    }
    if (!event.text.empty() || !event.logprobs.empty()) {
        if (!std::exchange(turn.has_sent_usage, true)) event.usage = turn.usage;
        event.tokens = std::exchange(turn.unsent, {});
        turn.request.sink(std::move(event));
    }
    if (step.has_ended) end(turn, step.finish);
}

void Scheduler::State::note_token_time(Turn& turn) {
    const MonotonicNs now = clock_.now();
    if (turn.first_token == 0) {
        turn.first_token = now;
    } else {
        turn.inter_token_s.push_back(static_cast<float>(seconds(now - turn.last_token)));
    }
    turn.last_token = now;
}

// Frees the turn's slot and pages; its last event follows at the end of the step.
void Scheduler::State::end(Turn& turn, FinishReason finish, Error error) {
    if (turn.has_ended) return;
    turn.has_ended = true;
    const std::int64_t session_tokens = turn.sequence != nullptr ? leave(turn, finish) : 0;
    turn.sequence.reset();
    report(turn, finish, session_tokens);
    LastEvent last;
    last.sink = std::move(turn.request.sink);
    last.event.kind =
        finish == FinishReason::kError ? TurnEvent::Kind::kFailed : TurnEvent::Kind::kDone;
    last.event.finish = finish;
    last.event.usage = turn.usage;
    last.event.error = std::move(error);
    last_events_.push_back(std::move(last));
}

// Stores what the turn computed and remembers what its session left. Returns the session's tokens
// that are in the tree now.
std::int64_t Scheduler::State::leave(Turn& turn, FinishReason finish) {
    const TurnRequest& request = turn.request;
    Sequence& sequence = *turn.sequence;
    const bool is_written = request.cache_write && options_.cache;
    sequence.store_tail(use_of(turn));
    const auto computed = sequence.tokens().first(static_cast<std::size_t>(sequence.computed()));
    StoredTurn left{{computed.begin(), computed.end()}, sequence.computed()};
    MissReason reason = is_written ? MissReason::kDiverged : MissReason::kDeclined;
    const bool is_whole = finish == FinishReason::kStop || finish == FinishReason::kLength;
    if (is_whole && request.canonical_reply) {
        std::vector<TokenId> canonical = request.prompt;
        const std::vector<TokenId> ids = request.canonical_reply(turn.reply->text());
        canonical.insert(canonical.end(), ids.begin(), ids.end());
        const auto closing = static_cast<std::int64_t>(request.canonical_reply({}).size());
        left = stored_turn(computed, std::move(canonical), closing);
        // Text can need more ids than were sampled; no prompt beyond the context is ever asked for.
        const auto context = static_cast<std::size_t>(engine_->config().context_length);
        if (left.tokens.size() > context) left.tokens.resize(context);
    } else if (left.stored < std::min(turn.usage.reusable_tokens, turn.usage.prompt_tokens)) {
        // Cut off within its history, which the next attempt will ask for again.
        left.tokens.assign(request.prompt.begin(),
                           request.prompt.begin() + turn.usage.reusable_tokens);
        if (is_written) reason = MissReason::kEvicted;
    }
    if (!is_written) left.stored = std::min(left.stored, sequence.reused());
    const auto tokens = static_cast<std::int64_t>(left.tokens.size());
    if (is_written) write_behind(request.salt, computed);
    turn.sequence.reset();  // Its pages are free for a canonical pass.
    if (is_written && is_whole && left.stored < tokens && waiting_.empty()) {
        CanonicalTurn canonical{request.session, request.salt, turn.number, left.tokens,
                                use_of(turn)};
        if (!passes_.start(std::move(canonical), clock_.now())) reason = MissReason::kCapacity;
    }
    const std::int64_t stored = left.stored;
    accounts_.remember(request, turn.number, std::move(left), reason, clock_.now());
    return stored;
}

void Scheduler::State::report(const Turn& turn, FinishReason finish, std::int64_t session_tokens) {
    if (!observer_.turn_done) return;
    const MonotonicNs now = clock_.now();
    TurnReport report;
    report.usage = turn.usage;
    report.finish = finish;
    report.session = turn.request.session;
    report.salt = turn.request.salt;
    report.session_tokens = session_tokens;
    report.turn = turn.number;
    report.queue_s = seconds((turn.admitted != 0 ? turn.admitted : now) - turn.request.arrived);
    report.total_s = seconds(now - turn.request.arrived);
    if (turn.first_token != 0) {
        report.prefill_s = seconds(turn.first_token - turn.admitted);
        report.ttft_s = seconds(turn.first_token - turn.request.arrived);
    }
    report.inter_token_s = turn.inter_token_s;
    observer_.turn_done(report);
}

void Scheduler::State::forget_ended() {
    const auto has_ended = [](const std::unique_ptr<Turn>& turn) { return turn->has_ended; };
    std::erase_if(running_, has_ended);
    const std::size_t left =
        std::erase_if(waiting_, has_ended) + std::erase_if(restoring_, has_ended);
    inbox_.left_queue(static_cast<std::int64_t>(left));
}

void Scheduler::State::publish() {
    SchedulerStats stats = accounts_.stats();
    stats.running = static_cast<std::int64_t>(running_.size());
    stats.waiting = std::ssize(waiting_) + std::ssize(restoring_);
    if (disk_ != nullptr) stats.disk = disk_->stats();
    for (const auto& turn : restoring_) stats.queued_tokens += std::ssize(turn->request.prompt);
    for (const auto& turn : waiting_) stats.queued_tokens += std::ssize(turn->request.prompt);
    for (const auto& turn : running_) stats.queued_tokens += turn->sequence->pending();
    const PagePool& pool = tier_.pool();
    stats.pages_used = pool.pages_used();
    stats.pages_total = pool.pages_total();
    stats.pages_cached = tier_.tree().pages();
    stats.evicted_pages = tier_.tree().pages_evicted();
    stats.expired_pages = tier_.tree().pages_expired();
    stats.corrupt_pages = tier_.tree().pages_corrupt();
    stats.kept_pages = tier_.tree().pages_kept();
    stats.residence_s = seconds(tier_.tree().residence());
    stats.kv_bytes_used = pool.pages_used() * static_cast<std::int64_t>(pool.page_bytes());
    stats.kv_bytes_max = options_.kv_bytes_max;
    stats.device = engine_->device_figures();
    auto snapshot = std::make_shared<const SchedulerStats>(std::move(stats));
    const std::lock_guard lock(stats_mutex_);
    stats_.swap(snapshot);
}

void Scheduler::State::send_last_events() {
    for (LastEvent& last : std::exchange(last_events_, {})) last.sink(std::move(last.event));
}

Scheduler::Scheduler(std::unique_ptr<engine::Engine> engine, const engine::Tokenizer& tokenizer,
                     const SchedulerOptions& options, const Clock& clock,
                     SchedulerObserver observer)
    : state_(std::make_unique<State>(std::move(engine), tokenizer, options, clock,
                                     std::move(observer))) {}

Scheduler::~Scheduler() {
    stop();
}

Result<void> Scheduler::open_disk(DiskTierOptions options) {
    return state_->open_disk(std::move(options));
}

void Scheduler::start() {
    state_->start();
}
void Scheduler::stop() {
    state_->stop();
}
bool Scheduler::step() {
    return state_->step();
}
Result<TurnId> Scheduler::submit(TurnRequest turn) {
    return state_->submit(std::move(turn));
}
void Scheduler::cancel(TurnId id) {
    state_->cancel(id);
}
bool Scheduler::post(std::function<void(KvView&)> job) {
    return state_->post(std::move(job));
}
std::shared_ptr<const SchedulerStats> Scheduler::stats() const {
    return state_->stats();
}
const engine::Engine& Scheduler::engine() const {
    return state_->engine();
}

}  // namespace hearth
