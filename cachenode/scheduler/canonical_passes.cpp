// A pass is a sequence without logits.
#include "cachenode/scheduler/canonical_passes.h"

#include <utility>

namespace hearth {
namespace {

constexpr std::size_t kPassesMax = 64;  // Turns that end together; each takes pages and a slice.

PrefixUse use_of(const CanonicalTurn& turn, MonotonicNs now) {
    PrefixUse use = turn.use;
    use.now = now;
    return use;
}

}  // namespace

bool CanonicalPasses::start(CanonicalTurn turn, MonotonicNs now) {
    if (passes_.size() >= kPassesMax) return false;
    SequenceSpec spec;
    spec.salt = turn.salt;
    spec.tokens = turn.tokens;
    spec.tokens_max = static_cast<std::int64_t>(turn.tokens.size());
    spec.reuse_max = spec.tokens_max;
    spec.use = use_of(turn, now);
    std::unique_ptr<Sequence> sequence = Sequence::admit(tier_, spec);
    if (sequence == nullptr) return false;
    passes_.push_back({std::move(turn), std::move(sequence)});
    return true;
}

void CanonicalPasses::advance(std::size_t pass, std::int32_t tokens, MonotonicNs now) {
    passes_[pass].sequence->advance(tokens, use_of(passes_[pass].turn, now));
    accounts_.count_canonical(tokens);
}

void CanonicalPasses::end(Pass& pass, MonotonicNs now) {
    const CanonicalTurn& turn = pass.turn;
    pass.sequence->store_tail(use_of(turn, now));
    const std::int64_t computed = pass.sequence->computed();
    if (turn.session) accounts_.stored_more(*turn.session, turn.salt, turn.turn, computed);
    stored_(turn, computed);
    pass.sequence.reset();
}

void CanonicalPasses::forget_ended() {
    std::erase_if(passes_, [](const Pass& pass) { return pass.sequence == nullptr; });
}

void CanonicalPasses::end_finished(MonotonicNs now) {
    for (Pass& pass : passes_) {
        if (pass.sequence->pending() == 0) end(pass, now);
    }
    forget_ended();
}

void CanonicalPasses::end_those_of(const SessionKey& session, const std::string& salt,
                                   MonotonicNs now) {
    for (Pass& pass : passes_) {
        if (pass.turn.session == session && pass.turn.salt == salt) end(pass, now);
    }
    forget_ended();
}

void CanonicalPasses::end_all(MonotonicNs now) {
    for (Pass& pass : passes_) end(pass, now);
    passes_.clear();
}

}  // namespace hearth
