// Reuse: how much of a prompt was reusable, how much was reused, and why the rest was not. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <span>

#include "cachenode/kv/miss_reason.h"
#include "cachenode/kv/session_ledger.h"
#include "cachenode/scheduler/turn.h"
#include "engine/model/config.h"
#include "engine/text/tokenizer.h"

namespace hearth {

// All that is known of a turn at its admission. Token counts are lengths of prefixes of the prompt.
struct ReuseQuestion {
    std::span<const engine::TokenId> prompt;  // Not empty.
    std::int64_t history_tokens = 0;          // As in TurnRequest.
    bool has_session = false;
    const SessionTurn* last = nullptr;  // The session's last turn here, if known.
    SessionHint hint = {};
    std::int64_t cached = 0;     // Will be reused: < prompt.size().
    std::int64_t known = 0;      // Cached, or were until evicted, whoever computed them.
    std::int64_t same_text = 0;  // By same_text_tokens(), after the common prefix.
    bool declined = false;
    MissReason lost = MissReason::kEvicted;  // What became of pages that were stored here.
    bool is_other_salt = false;              // The session is known here, under another salt only.
};

// Invariants: reused + sum(missed) == reusable <= prompt.size() - 1; reused <= cached; no zeros.
struct Reuse {
    std::int64_t reusable = 0;
    std::int64_t reused = 0;
    std::map<MissReason, std::int64_t> missed;
};

// A token is reusable when an earlier turn of the session computed it under the same salt (design
// §11). What shows that: the session's last turn here; the record of another node's turn; and, for
// the history alone, pages that are cached or were. A keyed session with a history that this node
// knows nothing of counts as computed elsewhere: better a miss too many than one unseen. Text that
// the client changed is new text, not a miss. The last prompt token is always computed.
Reuse account_reuse(const ReuseQuestion& question);

// How many tokens of `prompt` say, in other ids, what `stored` says: both continue a common prefix,
// and `prompt` ends with the history. 0 when the texts differ before one of them ends (an edit).
std::int64_t same_text_tokens(const engine::Tokenizer& tokenizer,
                              std::span<const engine::TokenId> prompt,
                              std::span<const engine::TokenId> stored);

// The length of the common prefix, in tokens.
std::int64_t common_prefix_tokens(std::span<const engine::TokenId> a,
                                  std::span<const engine::TokenId> b);

}  // namespace hearth
