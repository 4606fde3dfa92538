// Finds, weighs, reads, stores.
#include "cachenode/scheduler/restores.h"

#include <utility>

#include "common/base/check.h"

namespace hearth {

Restores::Start Restores::start(DiskTier& disk, Question question) {
    const std::span<const engine::TokenId> tokens(question.tokens);
    PrefixTree::Lease lease = tier_.tree().match(question.salt, tokens, question.use);
    const std::size_t whole = lease.pages().size() * engine::kPageTokens;
    const auto rest = tokens.subspan(whole);
    std::vector<DiskTier::FoundPage> found = disk.find(lease.end(), rest);
    if (found.empty()) return Start::kNothing;
    const auto more =
        static_cast<std::int64_t>(found.back().first + found.back().tokens) - lease.tail_tokens();
    if (more <= 0) return Start::kNothing;
    const std::int64_t pages = std::ssize(found);
    const double speed = question.prefill_tokens_per_s;
    if (speed > 0 && !disk.is_quicker(pages, static_cast<double>(more) / speed))
        return Start::kDearer;
    if (!tier_.promise(pages)) return Start::kNoMemory;
    Restore restore;
    restore.in_memory = lease.tokens();
    lease.drop_tail();
    restore.lease = std::move(lease);
    std::vector<std::byte*> into;
    for (std::int64_t i = 0; i < pages; ++i) {
        restore.pages.push_back(tier_.acquire());
        into.push_back(restore.pages.back().data());
    }
    std::vector<engine::TokenId> wanted(rest.begin(), rest.end());
    restore.found = std::move(found);
    restore.question = std::move(question);
    const auto at = running_.insert(running_.end(), std::move(restore));
    disk.load(at->found, std::move(wanted), std::move(into),
              [this, at](const std::vector<ReadOutcome>& outcomes) { finish(at, outcomes); });
    return Start::kStarted;
}

void Restores::finish(std::list<Restore>::iterator at, const std::vector<ReadOutcome>& outcomes) {
    Restore& restore = *at;
    const std::span<const engine::TokenId> tokens(restore.question.tokens);
    const std::size_t behind = restore.lease.pages().size() * engine::kPageTokens;
    const PrefixUse& use = restore.question.use;
    Finished done;
    done.turn = restore.question.turn;
    done.in_memory = restore.in_memory;
    done.then = std::move(restore.question.then);
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
        if (outcomes[i] != ReadOutcome::kGood) {
            done.was_corrupt = outcomes[i] == ReadOutcome::kCorrupt;
            break;
        }
        const auto ids = tokens.subspan(behind + restore.found[i].first, restore.found[i].tokens);
        if (ids.size() == engine::kPageTokens) {
            tier_.tree().extend(restore.lease, ids, std::move(restore.pages[i]), use);
        } else {
            tier_.tree().store_tail(restore.lease, ids, std::move(restore.pages[i]), use);
        }
    }
    done.held = std::move(restore.lease);
    running_.erase(at);
    finished_.push_back(std::move(done));
}

void Restores::abandon() {
    for (Restore& restore : running_) {
        if (auto then = std::exchange(restore.question.then, {})) then();
    }
    for (Finished& done : finished_) {
        if (auto then = std::exchange(done.then, {})) then();
    }
}

}  // namespace hearth
