// Sequence: a run of tokens and the pages that hold its KV, from the cached prefix to the newest
// token.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cachenode/kv/device_tier.h"
#include "engine/engine.h"

namespace hearth {

struct SequenceSpec {
    std::string salt;
    std::vector<engine::TokenId> tokens;  // What is known so far; not empty.
    std::int64_t tokens_max = 0;          // >= tokens.size(): what it may grow to.
    std::int64_t reuse_max = 0;           // Longest cached prefix to take over.
    bool cache_write = true;              // Store pages in the tree as they fill.
    PrefixUse use;
};

// Owned by the scheduler. Holds a promise for every page it may still need, so it never waits for
// one. Pages up to a point are the tree's, pinned and shared; the others are its own. A page that
// is shared or only partly of use is copied before it is written to. Destroying it gives all back.
class Sequence {
  public:
    // Null when the pages cannot be had now; `spec` is then as it was.
    static std::unique_ptr<Sequence> admit(DeviceTier& tier, SequenceSpec& spec);
    ~Sequence();
    Sequence(const Sequence&) = delete;
    Sequence& operator=(const Sequence&) = delete;

    std::span<const engine::TokenId> tokens() const { return tokens_; }
    std::int64_t reused() const { return reused_; }          // Taken from the cache at admission.
    bool met_corruption() const { return met_corruption_; }  // What ended the cached prefix.
    std::int64_t computed() const { return computed_; }      // The first so many tokens have KV.
    std::int64_t pending() const { return static_cast<std::int64_t>(tokens_.size()) - computed_; }
    void append(engine::TokenId id);

    // The next `count` pending tokens, for one engine step; valid until advance().
    engine::Slice next(std::int32_t count);
    // The engine has done the slice. Whole pages go into the tree.
    void advance(std::int32_t count, const PrefixUse& use);
    // The end: puts the last, partial page into the tree too. Call once, after the last step.
    void store_tail(const PrefixUse& use);

  private:
    Sequence(DeviceTier& tier, SequenceSpec&& spec, PrefixTree::Lease lease);
    Page acquire();

    DeviceTier& tier_;
    bool cache_write_;
    std::vector<engine::TokenId> tokens_;
    std::int64_t reused_ = 0;
    std::int64_t computed_ = 0;
    bool met_corruption_ = false;
    std::int64_t promised_ = 0;      // Pages; still unused.
    PrefixTree::Lease lease_;        // Pages in the tree ...
    std::deque<Page> own_;           // ... then ours.
    std::vector<std::byte*> table_;  // Both, for the engine.
};

// Pages that hold `tokens` tokens.
constexpr std::int64_t pages_for(std::int64_t tokens) {
    return (tokens + engine::kPageTokens - 1) / engine::kPageTokens;
}

}  // namespace hearth
