// TurnRequest and its events: what crosses between the API's threads and the scheduler.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/result.h"
#include "common/wire/session_key.h"
#include "engine/text/sampler.h"
#include "engine/text/token_trie.h"
#include "engine/text/tokenizer.h"

namespace hearth {

using TurnId = std::uint64_t;

// kToolCalls is the API's: a turn that ended with kStop whose text is calls.
enum class FinishReason { kStop, kLength, kCancelled, kError, kToolCalls };
const char* to_string(FinishReason reason);  // "stop", "length", "abort", "error", "tool_calls"

// Token accounting of one turn, fixed at admission (design §11).
// device + disk + peer + computed = prompt; reused + sum(missed) = reusable.
struct TurnUsage {
    std::int64_t prompt_tokens = 0;
    std::int64_t cached_tokens = 0;  // device + disk + peer
    // Of the session's stored last turn, what this prompt does not go on with; -1 = none is known.
    std::int64_t shortfall_tokens = -1;
    std::int64_t diverged_at = -1;  // Where it leaves that turn; -1 = it goes on with all of it.
    std::int64_t disk_tokens = 0, peer_tokens = 0;
    std::int64_t cache_write_tokens = 0;  // Of the prompt, computed and kept.
    std::int64_t completion_tokens = 0;
    std::int64_t reusable_tokens = 0;
    std::int64_t reused_tokens = 0;
    std::map<std::string, std::int64_t> missed;  // Reason -> tokens.
};

struct TurnEvent {
    enum class Kind { kToken, kDone, kFailed } kind = Kind::kToken;
    std::size_t choice = 0;  // Of the request's n; set by who submitted them.
    // kToken: text that is now certain (stop strings held back, whole UTF-8), may be empty when
    // logprobs are wanted for a token whose text is pending.
    std::string text;
    std::vector<engine::Sampled> logprobs;      // Of the tokens since the last event, if asked for.
    std::vector<engine::TokenId> tokens;        // Sampled since the last event, if asked for.
    FinishReason finish = FinishReason::kStop;  // kDone
    TurnUsage usage;                            // First kToken, kDone
    Error error;                                // kFailed
};

// What the session's record in the metadata store said when this node has no memory of the session.
struct SessionHint {
    bool known = false;         // Some node held this session before.
    bool node_alive = true;     // That node's generation still lives.
    std::int64_t tokens = 0;    // KV tokens it held.
    std::string holder = {};    // Address of the live node that holds it; or empty.
    bool was_corrupt = false;   // What came from there did not match its checksums.
    std::string moved_to = {};  // Node id that holds it still, unknown to the router; or empty.
};

struct TurnRequest {
    std::optional<SessionKey> session;
    std::string salt;                     // Tenant salt; part of every page hash.
    std::vector<engine::TokenId> prompt;  // Rendered and tokenised.
    // Reply tokens that another node sampled and the client has already: the reply goes on behind
    // them, with no event for them. At most max_tokens.
    std::vector<engine::TokenId> forced;
    bool wants_tokens = false;  // Events say which tokens their text comes from.
    // Prompt tokens up to the end of the last earlier reply: what an earlier turn can have
    // computed.
    std::int64_t history_tokens = 0;
    SessionHint hint;
    std::int64_t from_peer = 0;  // Of its first tokens, the KV was brought here from another node.
    engine::SamplingParams sampling;
    std::int64_t max_tokens = 0;  // > 0
    std::int64_t min_tokens = 0;
    bool ignore_eos = false;
    std::vector<std::string> stop;
    std::vector<engine::TokenId> stop_token_ids;
    // The reply is a text of this grammar and ends with it; min_tokens and ignore_eos do not count
    // then. Null: any text.
    std::shared_ptr<const engine::TokenGrammar> grammar;
    bool cache_read = true, cache_write = true;  // cache_prompt:false clears both.
    // The next turn's ids of this reply's text plus the template's closing; lets the scheduler
    // store the turn as the next prompt will render it. May be empty. Called on the scheduler's
    // thread.
    std::function<std::vector<engine::TokenId>(const std::string& reply_text)> canonical_reply;
    std::optional<MonotonicNs> follow_up_bonus;  // Of its tenant; none = the node's.
    MonotonicNs keep_for = 0;                    // A soft pin of what it uses; 0 = none.
    MonotonicNs arrived = 0;
    MonotonicNs deadline = 0;  // 0 = none; past it the turn fails with kTimeout.
    // Called on the scheduler's thread, in order, must not block (posts to the connection's loop).
    std::function<void(TurnEvent)> sink;
};

struct TurnReport {
    TurnUsage usage;
    FinishReason finish = FinishReason::kStop;
    std::optional<SessionKey> session;
    std::string salt;
    std::int64_t session_tokens = 0;  // KV tokens of the session now held here.
    std::int64_t turn = 0;            // 1 for a first turn.
    double queue_s = 0, prefill_s = 0, ttft_s = 0, total_s = 0;
    std::vector<float> inter_token_s;
};

}  // namespace hearth
