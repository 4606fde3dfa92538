// The accounting of one turn: the prompt is cut into stretches, each with one reason to be missed.
#include "cachenode/kv/reuse.h"

#include <algorithm>

#include "common/base/check.h"

namespace hearth {
namespace {

// Extends the reusable prefix stretch by stretch; what lies beyond the cache is missed.
class Account {
  public:
    explicit Account(const ReuseQuestion& question)
        : cached_(question.declined ? 0 : question.cached),
          declined_(question.declined),
          limit_(static_cast<std::int64_t>(question.prompt.size()) - 1) {}

    void reusable_up_to(std::int64_t end, MissReason reason) {
        end = std::min(end, limit_);
        if (end <= reuse_.reusable) return;
        const std::int64_t missed = end - std::max(reuse_.reusable, std::min(cached_, end));
        if (missed > 0) reuse_.missed[declined_ ? MissReason::kDeclined : reason] += missed;
        reuse_.reusable = end;
        reuse_.reused = std::min(cached_, end);
    }
    std::int64_t reusable() const { return reuse_.reusable; }
    const Reuse& result() const { return reuse_; }

  private:
    std::int64_t cached_;
    bool declined_;
    std::int64_t limit_;
    Reuse reuse_;
};

}  // namespace

const char* to_string(MissReason reason) {
    switch (reason) {
        case MissReason::kEvicted: return "evicted";
        case MissReason::kExpired: return "expired";
        case MissReason::kCorrupt: return "corrupt";
        case MissReason::kSalt: return "salt";
        case MissReason::kCapacity: return "capacity";
        case MissReason::kDiverged: return "diverged";
        case MissReason::kRerouted: return "rerouted";
        case MissReason::kNodeLost: return "node_lost";
        case MissReason::kDeclined: return "declined";
    }
    return "unknown";
}

std::int64_t common_prefix_tokens(std::span<const engine::TokenId> a,
                                  std::span<const engine::TokenId> b) {
    return std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
}

std::int64_t same_text_tokens(const engine::Tokenizer& tokenizer,
                              std::span<const engine::TokenId> prompt,
                              std::span<const engine::TokenId> stored) {
    std::string text;  // Of `stored`, as far as decoded and not yet matched.
    std::int64_t same = 0;
    std::size_t next = 0;
    for (const engine::TokenId id : prompt) {
        const std::string piece = tokenizer.decode(id, true);
        while (text.size() < piece.size() && next < stored.size()) {
            text += tokenizer.decode(stored[next++], true);
        }
        const std::size_t shared = std::min(text.size(), piece.size());
        if (text.compare(0, shared, piece, 0, shared) != 0) return 0;
        if (shared < piece.size()) return same;  // `stored` ends within this token.
        text.erase(0, shared);
        ++same;
    }
    return same;
}

Reuse account_reuse(const ReuseQuestion& q) {
    CHECK(!q.prompt.empty() && q.cached < static_cast<std::int64_t>(q.prompt.size()));
    Account account(q);
    bool is_edited = false;  // The history left the text of the last turn before that turn's end.
    if (q.last != nullptr) {
        const std::int64_t common = common_prefix_tokens(q.prompt, q.last->tokens);
        account.reusable_up_to(std::min(common, q.last->stored), q.lost);
        account.reusable_up_to(common, q.last->unstored);
        account.reusable_up_to(common + q.same_text, MissReason::kDiverged);
        is_edited = common + q.same_text < static_cast<std::int64_t>(q.last->tokens.size());
    }
    // Other turns of the session, in their own words: what their pages and ghosts say.
    account.reusable_up_to(std::min(std::max(q.known, q.cached), q.history_tokens), q.lost);
    const bool is_elsewhere = q.last == nullptr ? q.has_session : q.hint.known && !is_edited;
    if (is_elsewhere) {
        const std::int64_t held = q.hint.tokens > 0 ? q.hint.tokens : q.history_tokens;
        const bool is_lost = q.hint.known && !q.hint.node_alive;
        account.reusable_up_to(std::min(held, q.history_tokens), q.is_other_salt ? MissReason::kSalt
                                                                 : q.hint.was_corrupt
                                                                     ? MissReason::kCorrupt
                                                                 : is_lost ? MissReason::kNodeLost
                                                                           : MissReason::kRerouted);
    }
    return account.result();
}

}  // namespace hearth
