// Restores: turns whose next pages are on disk wait here while those are read; nobody else does.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "cachenode/kv/device_tier.h"
#include "cachenode/kv/disk_tier.h"
#include "cachenode/scheduler/turn.h"

namespace hearth {

// Scheduler's thread. The pages of a restore are its own until they are read and verified; then
// they are the tree's, leased until the turn is admitted.
class Restores {
  public:
    explicit Restores(DeviceTier& tier) : tier_(tier) {}

    enum class Start {
        kNothing,   // The disk has nothing more of it.
        kNoMemory,  // To read it into, now.
        kDearer,    // To compute it is quicker than to read it.
        kStarted,
    };
    struct Question {
        TurnId turn = 0;
        std::string salt;
        std::vector<engine::TokenId> tokens;  // That may be reused.
        PrefixUse use;
        double prefill_tokens_per_s = 0;  // 0 = unknown: then it is read.
        std::function<void()> then = {};  // Of a restore that no turn waits for.
    };
    Start start(DiskTier& disk, Question question);

    struct Finished {
        TurnId turn = 0;
        PrefixTree::Lease held;      // Of all that is cached by now.
        std::int64_t in_memory = 0;  // Tokens that had been there before.
        bool was_corrupt = false;
        std::function<void()> then = {};
    };
    // Lets those who wait without a turn go on with what is there: nothing more will be read.
    void abandon();
    std::vector<Finished> take_finished() { return std::exchange(finished_, {}); }
    std::size_t running() const { return running_.size(); }

  private:
    struct Restore {
        Question question;
        PrefixTree::Lease lease;
        std::int64_t in_memory = 0;
        std::vector<DiskTier::FoundPage> found;
        std::vector<Page> pages;
    };
    void finish(std::list<Restore>::iterator at, const std::vector<ReadOutcome>& outcomes);

    DeviceTier& tier_;
    std::list<Restore> running_;
    std::vector<Finished> finished_;
};

}  // namespace hearth
