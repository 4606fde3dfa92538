// Page bookkeeping of one sequence: lease, copy-on-write, allocation on demand, storing.
#include "cachenode/scheduler/sequence.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"

namespace hearth {

std::unique_ptr<Sequence> Sequence::admit(DeviceTier& tier, SequenceSpec& spec) {
    CHECK(!spec.tokens.empty() && spec.tokens_max >= static_cast<std::int64_t>(spec.tokens.size()));
    const auto reuse_max = static_cast<std::size_t>(
        std::clamp<std::int64_t>(spec.reuse_max, 0, static_cast<std::int64_t>(spec.tokens.size())));
    PrefixTree::Lease lease =
        tier.tree().match(spec.salt, std::span(spec.tokens).first(reuse_max), spec.use);
    const std::int64_t pages =
        pages_for(spec.tokens_max) - static_cast<std::int64_t>(lease.pages().size());
    if (!tier.promise(pages)) {
        // The tail to be copied may itself be the page that is lacking: then do without its tokens.
        lease.drop_tail();
        if (!tier.promise(pages)) return nullptr;
    }
    return std::unique_ptr<Sequence>(new Sequence(tier, std::move(spec), std::move(lease)));
}

Sequence::Sequence(DeviceTier& tier, SequenceSpec&& spec, PrefixTree::Lease lease)
    : tier_(tier),
      cache_write_(spec.cache_write),
      tokens_(std::move(spec.tokens)),
      reused_(lease.tokens()),
      computed_(reused_),
      met_corruption_(lease.was_corrupt()),
      promised_(pages_for(spec.tokens_max) - static_cast<std::int64_t>(lease.pages().size())),
      lease_(std::move(lease)),
      table_(lease_.pages().begin(), lease_.pages().end()) {
    tokens_.reserve(static_cast<std::size_t>(spec.tokens_max));
    if (lease_.tail_tokens() == 0) return;
    own_.push_back(acquire());
    lease_.copy_tail(own_.back());
    table_.push_back(own_.back().data());
}

Sequence::~Sequence() {
    tier_.take_back_promise(promised_);
}

Page Sequence::acquire() {
    CHECK_MSG(promised_ > 0, "a sequence outgrew its promise");
    --promised_;
    return tier_.acquire();
}

void Sequence::append(engine::TokenId id) {
    tokens_.push_back(id);
}

engine::Slice Sequence::next(std::int32_t count) {
    CHECK(count > 0 && count <= pending());
    while (static_cast<std::int64_t>(table_.size()) < pages_for(computed_ + count)) {
        own_.push_back(acquire());
        table_.push_back(own_.back().data());
    }
    const auto start = static_cast<std::size_t>(computed_);
    return {.pages = table_,
            .start = static_cast<std::int32_t>(computed_),
            .tokens = std::span(tokens_).subspan(start, static_cast<std::size_t>(count)),
            .logits = engine::Slice::Logits::kNone};
}

void Sequence::advance(std::int32_t count, const PrefixUse& use) {
    computed_ += count;
    if (!cache_write_) return;
    while (static_cast<std::int64_t>(lease_.pages().size() + 1) * engine::kPageTokens <=
           computed_) {
        const std::size_t page = lease_.pages().size();
        const auto ids =
            std::span(tokens_).subspan(page * engine::kPageTokens, engine::kPageTokens);
        table_[page] = tier_.tree().extend(lease_, ids, std::move(own_.front()), use);
        own_.pop_front();
    }
}

void Sequence::store_tail(const PrefixUse& use) {
    const std::size_t whole = lease_.pages().size() * engine::kPageTokens;
    const auto end = static_cast<std::size_t>(computed_);
    if (!cache_write_ || end == whole) return;
    CHECK(!own_.empty());
    tier_.tree().store_tail(lease_, std::span(tokens_).subspan(whole, end - whole),
                            std::move(own_.front()), use);
    own_.pop_front();
    table_.clear();
}

}  // namespace hearth
