// Turns ledger, tree and request into one entry per turn.
#include "cachenode/scheduler/accounts.h"

#include <algorithm>
#include <utility>

#include "cachenode/kv/reuse.h"

namespace hearth {

std::int64_t Accounts::turn_number(const TurnRequest& request) {
    const SessionTurn* const last =
        request.session ? ledger_.find(*request.session, request.salt) : nullptr;
    if (last != nullptr) return last->turn + 1;
    return request.history_tokens > 0 ? 2 : 1;  // At least the second; nobody here knows more.
}

TurnUsage Accounts::admit(const TurnRequest& request, const FoundPrefix& found,
                          const PrefixTree& tree) {
    const std::int64_t cached = found.cached;
    const std::span<const engine::TokenId> prompt = request.prompt;
    const auto size = static_cast<std::int64_t>(prompt.size());
    ReuseQuestion question;
    question.prompt = prompt;
    question.history_tokens = std::clamp<std::int64_t>(request.history_tokens, 0, size);
    question.has_session = request.session.has_value();
    question.hint = request.hint;
    question.cached = cached;
    question.declined = !request.cache_read || !cache_;
    const auto history = prompt.first(static_cast<std::size_t>(question.history_tokens));
    // Where all of the history is cached nothing else is known of it: spare the hashing.
    question.last = request.session ? ledger_.find(*request.session, request.salt) : nullptr;
    const std::int64_t stored = question.last == nullptr ? 0 : question.last->stored;
    const std::int64_t told = std::min(std::max(question.history_tokens, stored), size);
    if (cached / engine::kPageTokens < told / engine::kPageTokens) {
        const KnownPrefix known =
            tree.known(request.salt, prompt.first(static_cast<std::size_t>(told)));
        question.known = known.tokens;
        if (known.fate == PageFate::kExpired) question.lost = MissReason::kExpired;
    }
    if (found.was_dearer) question.lost = MissReason::kDeclined;
    if (found.was_corrupt) question.lost = MissReason::kCorrupt;
    question.is_other_salt = request.session && !request.hint.known &&
                             ledger_.has_other_salt(*request.session, request.salt);
    if (question.last != nullptr) {
        const std::span<const engine::TokenId> left = question.last->tokens;
        const auto common = static_cast<std::size_t>(common_prefix_tokens(history, left));
        question.same_text =
            same_text_tokens(tokenizer_, history.subspan(common), left.subspan(common));
    }
    const Reuse reuse = account_reuse(question);

    TurnUsage usage;
    if (question.last != nullptr) {
        const std::span<const engine::TokenId> left = question.last->tokens;
        const std::int64_t common = common_prefix_tokens(prompt, left);
        usage.shortfall_tokens = std::ssize(left) - common;
        if (usage.shortfall_tokens > 0) usage.diverged_at = common;
    }
    if (request.session && question.history_tokens > 0 && ghosts_.samples(*request.session)) {
        counters_.ghost_prompt_tokens += size;
        counters_.ghost_hit_tokens +=
            std::min(std::max(cached, ghosts_.longest(request.salt, prompt)), size - 1);
        counters_.ghost_real_tokens += cached;
    }
    usage.prompt_tokens = size;
    usage.cached_tokens = cached;
    usage.reusable_tokens = reuse.reusable;
    usage.reused_tokens = reuse.reused;
    for (const auto& [reason, tokens] : reuse.missed) usage.missed[to_string(reason)] = tokens;
    usage.disk_tokens = std::min(found.disk, cached);
    usage.peer_tokens = std::min(request.from_peer, cached - usage.disk_tokens);
    count(usage, question.declined);
    return usage;
}

void Accounts::count(const TurnUsage& usage, bool declined) {
    const std::int64_t cached = usage.cached_tokens;
    for (const auto& [reason, tokens] : usage.missed) counters_.missed_tokens[reason] += tokens;
    counters_.prompt_tokens_disk += usage.disk_tokens;
    counters_.prompt_tokens_peer += usage.peer_tokens;
    counters_.prompt_tokens_device += cached - usage.disk_tokens - usage.peer_tokens;
    // What an infinite cache that never fails would have served; nothing where it may not be read.
    counters_.ceiling_tokens += declined ? 0 : std::max(cached, usage.reusable_tokens);
    counters_.prompt_tokens_computed += usage.prompt_tokens - cached;
    counters_.reusable_tokens += usage.reusable_tokens;
    counters_.reused_tokens += usage.reused_tokens;
    // Nothing was lost that a cache could have given, unless the turn was not to read it.
    if (usage.reusable_tokens > 0 && !declined) ++counters_.turns_full_ceiling;
    if (usage.reusable_tokens == 0) {
        ++counters_.turns_first;
    } else if (usage.reused_tokens == usage.reusable_tokens) {
        ++counters_.turns_full_hit;
    } else {
        ++(usage.reused_tokens > 0 ? counters_.turns_partial_hit : counters_.turns_miss);
    }
}

void Accounts::remember(const TurnRequest& request, std::int64_t turn, StoredTurn left,
                        MissReason reason, MonotonicNs now) {
    if (!request.session) return;
    if (ghosts_.samples(*request.session)) ghosts_.store(request.salt, left.tokens);
    // What an earlier turn stored and this one did not read or write again counts as stored still.
    if (const SessionTurn* const last = ledger_.find(*request.session, request.salt)) {
        left.stored = std::max(
            left.stored, std::min(last->stored, common_prefix_tokens(last->tokens, left.tokens)));
    }
    ledger_.put(*request.session, request.salt,
                {std::move(left.tokens), left.stored, reason, turn, now});
}

void Accounts::stored_more(const SessionKey& session, const std::string& salt, std::int64_t turn,
                           std::int64_t stored) {
    SessionTurn* const last = ledger_.find(session, salt);
    if (last == nullptr || last->turn != turn) return;
    const auto size = static_cast<std::int64_t>(last->tokens.size());
    last->stored = std::min(std::max(last->stored, stored), size);
}

void Accounts::count_step(double seconds, std::int64_t prefill_tokens, std::int64_t decode_tokens) {
    constexpr double kFade = 0.9;
    if (prefill_tokens <= decode_tokens || seconds <= 0) return;
    prefill_tokens_ = kFade * prefill_tokens_ + static_cast<double>(prefill_tokens);
    prefill_seconds_ = kFade * prefill_seconds_ + seconds;
}

SchedulerStats Accounts::stats() const {
    SchedulerStats stats = counters_;
    stats.sessions = ledger_.sessions();
    stats.prefill_tokens_per_s = prefill_tokens_per_s();
    return stats;
}

double Accounts::prefill_tokens_per_s() const {
    return prefill_seconds_ > 0 ? prefill_tokens_ / prefill_seconds_ : 0;
}

}  // namespace hearth
