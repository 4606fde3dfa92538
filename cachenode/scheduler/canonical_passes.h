// CanonicalPasses: computes finished turns' ids as the next prompt will have them, where the
// sampled ones differ, so that the next turn finds them. Nobody waits for a pass; it gives way to
// everything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cachenode/kv/device_tier.h"
#include "cachenode/scheduler/accounts.h"
#include "cachenode/scheduler/sequence.h"
#include "common/wire/session_key.h"

namespace hearth {

struct CanonicalTurn {
    std::optional<SessionKey> session;
    std::string salt;
    std::int64_t turn = 0;
    std::vector<engine::TokenId> tokens;
    PrefixUse use = {};  // As its turn used pages; at another time.
};

// Scheduler's thread. However a pass ends, what it has computed is in the tree and in the ledger.
class CanonicalPasses {
  public:
    // `stored`: told how many of the turn's tokens have their KV in the tree when a pass has ended.
    using Stored = std::function<void(const CanonicalTurn& turn, std::int64_t tokens)>;
    CanonicalPasses(DeviceTier& tier, Accounts& accounts, Stored stored)
        : tier_(tier), accounts_(accounts), stored_(std::move(stored)) {}

    // False when the pages cannot be had or too many passes are under way.
    bool start(CanonicalTurn turn, MonotonicNs now);
    std::size_t size() const { return passes_.size(); }
    Sequence& sequence(std::size_t pass) const { return *passes_[pass].sequence; }
    // The engine has computed `tokens` more.
    void advance(std::size_t pass, std::int32_t tokens, MonotonicNs now);

    void end_finished(MonotonicNs now);
    void end_those_of(const SessionKey& session, const std::string& salt, MonotonicNs now);
    void end_all(MonotonicNs now);

  private:
    struct Pass {
        CanonicalTurn turn;
        std::unique_ptr<Sequence> sequence;
    };
    void end(Pass& pass, MonotonicNs now);
    void forget_ended();

    DeviceTier& tier_;
    Accounts& accounts_;
    Stored stored_;
    std::vector<Pass> passes_;
};

}  // namespace hearth
