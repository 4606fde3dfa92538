// Scheduler::State: what a scheduler holds and does on its thread.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cachenode/kv/device_tier.h"
#include "cachenode/scheduler/accounts.h"
#include "cachenode/scheduler/batcher.h"
#include "cachenode/scheduler/canonical_passes.h"
#include "cachenode/scheduler/inbox.h"
#include "cachenode/scheduler/reply.h"
#include "cachenode/scheduler/restores.h"
#include "cachenode/scheduler/scheduler.h"
#include "cachenode/scheduler/sequence.h"
#include "cachenode/scheduler/stored_turn.h"
#include "cachenode/scheduler/turn_log.h"
#include "common/base/check.h"
#include "common/base/machine.h"

namespace hearth {

using engine::TokenId;

// A turn from submission to its last event. The sequence and the reply come with admission.
struct Turn {
    TurnId id = 0;
    TurnRequest request;
    std::unique_ptr<Sequence> sequence;
    std::optional<Reply> reply;
    TurnUsage usage;
    std::int64_t number = 0;
    MonotonicNs admitted = 0, first_token = 0, last_token = 0;
    std::vector<TokenId> unsent;  // Sampled since the last event.
    PrefixTree::Lease held;       // Of what was restored for it, until it is admitted.
    std::int64_t in_memory = 0;   // Tokens that were cached before that.
    bool was_looked_for = false;  // On disk.
    bool was_restored = false, was_corrupt = false, was_dearer = false;
    std::int64_t refused_with = -1;  // Pages that were available when they did not do; -1 = never.
    bool has_sent_usage = false;
    bool has_ended = false;  // Leaves its list at the end of the step.
    std::vector<float> inter_token_s;

    // Its next token follows one that was sampled here.
    bool decodes() const { return usage.completion_tokens > std::ssize(request.forced); }
};

// The last event of a turn, sent once the counters that it changed are published.
struct LastEvent {
    std::function<void(TurnEvent)> sink;
    TurnEvent event;
};

// Scheduler's thread, save for submit(), cancel() and stats(). Invariant: a turn is in one of the
// three lists until its last event.
class Scheduler::State {
  public:
    State(std::unique_ptr<engine::Engine> model, const engine::Tokenizer& tokenizer,
          const SchedulerOptions& options, const Clock& clock, SchedulerObserver observer)
        : engine_(std::move(model)),
          tokenizer_(tokenizer),
          options_(options),
          clock_(clock),
          observer_(std::move(observer)),
          inbox_(options.queue_max),
          tier_(engine_->kv_layout().page_bytes(), options.kv_bytes_max, options.model_fingerprint,
                {.verify = options.kv_verify, .ttl = options.kv_ttl}),
          accounts_(tokenizer, options),
          passes_(tier_, accounts_,
                  [this](const CanonicalTurn& turn, std::int64_t tokens) {
                      stored_more(turn, tokens);
                  }),
          restores_(tier_) {
        CHECK(options.sequences_max > 0 && options.queue_max > 0);
        // An engine with memory of its own keeps copies of pages there.
        const Result<void> known = engine_->use_page_memory(tier_.pool().memory());
        CHECK_MSG(known.ok(), known.ok() ? "" : "kv_memory: " + known.error().message);
        tier_.pool().on_acquire([this](const std::byte* page) { engine_->page_changed(page); });
        if (observer_.page_changed) tier_.tree().observe(observer_.page_changed);
        publish();
    }

    Result<void> open_disk(DiskTierOptions options);
    void start() {
        thread_ = std::thread([this] {
            if (options_.cpu >= 0) pin_this_thread(options_.cpu);
            while (!inbox_.is_closed()) {
                if (!step() && !inbox_.wait(options_.kv_ttl > 0)) break;
            }
        });
    }
    void stop();
    bool step();
    Result<TurnId> submit(TurnRequest turn);
    void cancel(TurnId id) { inbox_.cancel(id); }
    bool post(std::function<void(KvView&)> job);
    std::shared_ptr<const SchedulerStats> stats() const {
        const std::lock_guard lock(stats_mutex_);
        return stats_;
    }
    const engine::Engine& engine() const { return *engine_; }

  private:
    struct Prefix {
        std::string salt;
        std::vector<TokenId> tokens;
    };
    bool take_mail();
    bool end_overdue();
    void cancel_now(TurnId id);
    bool take_restored();
    Restores::Start begin_restore(Turn& turn);
    void write_behind(const std::string& salt, std::span<const TokenId> tokens);
    void write_rest();
    void shed_writes();
    void stored_more(const CanonicalTurn& turn, std::int64_t tokens);
    KvView view();
    bool admit_waiting();
    bool admit(Turn& turn);
    void replay_forced(Turn& turn);
    bool run_batch();
    std::vector<BatchCandidate> candidates() const;
    Sequence& sequence_of(std::size_t candidate) const;
    void run_engine(const std::vector<PlannedSlice>& plan);
    void take_results(const std::vector<PlannedSlice>& plan);
    void take_token(Turn& turn, std::span<float> logits);
    void note_token_time(Turn& turn);

    void end(Turn& turn, FinishReason finish, Error error = {});
    std::int64_t leave(Turn& turn, FinishReason finish);
    void report(const Turn& turn, FinishReason finish, std::int64_t session_tokens);
    void forget_ended();
    void publish();
    void send_last_events();

    PrefixUse use_of(const Turn& turn) const;
    void expire();

    std::unique_ptr<engine::Engine> engine_;
    const engine::Tokenizer& tokenizer_;
    SchedulerOptions options_;
    const Clock& clock_;
    SchedulerObserver observer_;
    Inbox inbox_;
    DeviceTier tier_;  // Before everything that holds its pages.
    Accounts accounts_;
    TurnLog turns_;
    std::deque<std::unique_ptr<Turn>> waiting_;    // First come, first served.
    std::deque<std::unique_ptr<Turn>> restoring_;  // Their pages are being read.
    std::deque<std::unique_ptr<Turn>> running_;    // In order of admission.
    bool last_had_decodes_ = false;                // The last step.
    CanonicalPasses passes_;
    Restores restores_;
    std::deque<Prefix> writing_;      // All of whose pages are written or queued for the disk.
    std::deque<Prefix> unwritten_;    // Of which some pages are to be queued still.
    std::unique_ptr<DiskTier> disk_;  // Null: none. Its jobs use what stands above.
    std::vector<LastEvent> last_events_;
    std::vector<float> logits_;
    MonotonicNs expired_at_ = 0;
    // Not std::atomic<std::shared_ptr>: that of g++ 12 unlocks without release order in load().
    mutable std::mutex stats_mutex_;
    std::shared_ptr<const SchedulerStats> stats_;
    std::thread thread_;
};

}  // namespace hearth
