// Accounts: the hit-rate book of a node (design §11): every admitted turn is entered exactly once.
#pragma once

#include <cstdint>
#include <span>

#include "cachenode/kv/ghost_cache.h"
#include "cachenode/kv/prefix_tree.h"
#include "cachenode/kv/session_ledger.h"
#include "cachenode/scheduler/scheduler.h"
#include "cachenode/scheduler/stored_turn.h"

namespace hearth {

// What a turn found at its admission, in tokens.
struct FoundPrefix {
    std::int64_t cached = 0;          // Less than the prompt.
    std::int64_t disk = 0, peer = 0;  // Of these, fetched from there for this turn.
    bool was_corrupt = false;         // A page gone bad ended it.
    bool was_dearer = false;          // More is on disk, and quicker computed than read.
};

// Scheduler's thread. Owns the session ledger and the counters of SchedulerStats.
class Accounts {
  public:
    Accounts(const engine::Tokenizer& tokenizer, const SchedulerOptions& options)
        : tokenizer_(tokenizer),
          cache_(options.cache),
          ledger_(options.sessions_max, options.ledger_bytes_max),
          ghosts_(options.model_fingerprint, options.ghost_sample, kGhostPagesMax) {}

    // The number of the turn that asks: 1 for a session's first.
    std::int64_t turn_number(const TurnRequest& request);
    // Enters a turn whose first `found.cached` prompt tokens come from the tree.
    TurnUsage admit(const TurnRequest& request, const FoundPrefix& found, const PrefixTree& tree);

    // The session's turn has ended and left this; `reason`: why what is not stored is not.
    void remember(const TurnRequest& request, std::int64_t turn, StoredTurn left, MissReason reason,
                  MonotonicNs now = 0);
    // More of that turn's tokens are in the tree by now, unless a later turn replaced it.
    void stored_more(const SessionKey& session, const std::string& salt, std::int64_t turn,
                     std::int64_t stored);

    void count_admission_attempt() { ++counters_.admission_attempts; }
    void count_generated(std::int64_t tokens) { counters_.generated_tokens += tokens; }
    void count_canonical(std::int64_t tokens) { counters_.canonical_tokens += tokens; }
    void count_step(double seconds, std::int64_t prefill_tokens, std::int64_t decode_tokens);
    double prefill_tokens_per_s() const;  // Measured; 0 = unknown.
    SessionLedger& ledger() { return ledger_; }
    // Counters and sessions; the other fields are the scheduler's to fill.
    SchedulerStats stats() const;

  private:
    void count(const TurnUsage& usage, bool declined);

    const engine::Tokenizer& tokenizer_;
    bool cache_;
    SessionLedger ledger_;
    static constexpr std::size_t kGhostPagesMax = 1 << 20;
    GhostCache ghosts_;
    SchedulerStats counters_;
    double prefill_tokens_ = 0, prefill_seconds_ = 0;  // Of recent steps; older ones fade.
};

}  // namespace hearth
