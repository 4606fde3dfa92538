// Scheduler: continuous batching over one engine; turns come in by a bounded queue, leave as
// streams.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cachenode/kv/disk_tier.h"
#include "cachenode/kv/eviction.h"
#include "cachenode/kv/kv_view.h"
#include "cachenode/scheduler/turn.h"
#include "common/base/clock.h"
#include "common/base/result.h"
#include "engine/engine.h"

namespace hearth {

struct SchedulerOptions {
    std::int32_t sequences_max = 32;     // Running at once.
    std::int32_t queue_max = 256;        // Waiting; more are refused with kExhausted.
    std::int32_t step_tokens_max = 512;  // Token budget of one step: decodes first, then prefill.
    std::int32_t chunk_tokens_max =
        512;                             // Largest prefill chunk of one sequence (tests: 1, 7, 64).
    std::int64_t kv_bytes_max = 0;       // Budget of the page pool.
    bool cache = true;                   // False: every turn computes its whole prompt.
    std::int64_t sessions_max = 65'536;  // Sessions whose last turn the ledger remembers.
    std::int64_t ledger_bytes_max = 256LL << 20;  // Their token ids, 4 bytes each.
    std::uint64_t model_fingerprint = 0;          // Checkpoint's; part of every page hash.
    // What pages gain by their last use in a turn >= 2, unless the turn says otherwise.
    MonotonicNs follow_up_bonus = kFollowUpBonus;
    MonotonicNs kv_ttl = 0;            // Unused pages go after so long; 0 = never.
    std::uint64_t ghost_sample = 100;  // One session in so many; 0 = none.
    bool kv_verify = true;             // Checksums of pages whenever they are found.
    int cpu = -1;                      // Where its thread computes; -1 = anywhere.
};

// A snapshot for metrics, /ready and publishing; taken at the end of a step. Counters are lifetime.
struct SchedulerStats {
    std::int64_t running = 0, waiting = 0, queued_tokens = 0;
    std::int64_t pages_used = 0, pages_total = 0;  // In use by sequences or tree.
    std::int64_t pages_cached = 0;                 // Of these, in the tree.
    std::int64_t kv_bytes_used = 0, kv_bytes_max = 0;
    // Their sum = prompt tokens.
    std::int64_t prompt_tokens_device = 0, prompt_tokens_disk = 0, prompt_tokens_peer = 0,
                 prompt_tokens_computed = 0;
    // Of follow-up turns in the ghost cache's sample.
    std::int64_t ghost_prompt_tokens = 0, ghost_hit_tokens = 0, ghost_real_tokens = 0;
    std::int64_t ceiling_tokens = 0;  // That an infinite cache which never fails would have served.
    std::int64_t reusable_tokens = 0, reused_tokens = 0;
    std::map<std::string, std::int64_t> missed_tokens;  // By miss reason (design §7).
    // Of admitted turns: nothing was reusable; all of it, some of it, none of it was reused.
    std::int64_t turns_first = 0, turns_full_hit = 0, turns_partial_hit = 0, turns_miss = 0;
    std::int64_t turns_full_ceiling = 0;  // Full hits of an infinite cache that never fails.
    std::int64_t generated_tokens = 0, evicted_pages = 0, sessions = 0;
    std::int64_t expired_pages = 0, corrupt_pages = 0, kept_pages = 0;
    DiskTierStats disk;                   // Zeros when there is none.
    double residence_s = 0;               // From last use to eviction, of recent victims.
    std::int64_t admission_attempts = 0;  // Each looks a whole prompt up.
    std::int64_t canonical_tokens = 0;  // Computed again because a reply re-tokenises differently.
    double prefill_tokens_per_s = 0;    // Measured, exponentially smoothed; 0 = unknown.
    std::optional<engine::DeviceFigures> device;  // Where the engine has memory of its own.
};

// What happened in a turn or a step, for histograms; called on the scheduler's thread; must not
// block. A turn that ended before it was admitted reports no usage.
struct SchedulerObserver {
    std::function<void(const TurnReport&)> turn_done;
    // A canonical pass has ended: so many of the session's tokens have their KV here now.
    std::function<void(const SessionKey&, std::int64_t turn, std::int64_t tokens)> session_grown;
    // `phase`: "prefill", "decode" or "mixed".
    std::function<void(double step_seconds, std::int64_t tokens, const char* phase)> step_done;
    PageObserver page_changed;  // Null: nobody wants to know.
};

// submit(), cancel() and post() from any thread; everything below runs on the scheduler's own
// thread.
class Scheduler {
  public:
    Scheduler(std::unique_ptr<engine::Engine> engine, const engine::Tokenizer& tokenizer,
              const SchedulerOptions& options, const Clock& clock, SchedulerObserver observer);
    ~Scheduler();  // Stops: running turns end with kCancelled.

    // A disk tier beneath the pool, before start(). Page size and model are filled in.
    Result<void> open_disk(DiskTierOptions options);

    void start();  // Starts the thread. Tests call step() themselves instead.
    void stop();
    bool step();  // One step of work; false when there was nothing to do.

    // kExhausted when the queue is full; kTooLarge when prompt + max_tokens cannot fit context or
    // KV. After ok, exactly one kDone or kFailed event follows through `turn.sink`.
    Result<TurnId> submit(TurnRequest turn);
    // The client left: frees its slot and pages within two steps. Unknown ids are ignored.
    void cancel(TurnId id);
    // Runs `job` on the scheduler's thread, before its next step or, at the latest, in stop(). It
    // must be short: running turns wait for it. False once stopped: then it never runs.
    bool post(std::function<void(KvView&)> job);

    std::shared_ptr<const SchedulerStats> stats() const;
    const engine::Engine& engine() const;

  private:
    class State;
    std::unique_ptr<State> state_;
};

}  // namespace hearth
