// ChatWorld: a scheduler over a small engine, a clock that stands still, and chats to put to it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cachenode/scheduler/scheduler.h"
#include "engine/engine.h"
#include "engine/text/chat_template.h"

namespace hearth::testing {

// The tiny models' vocabulary: bytes, each with its value as id; merges that sampling one token at
// a time will often miss; ChatML's marks.
const engine::Tokenizer& small_tokenizer();
const engine::ChatTemplate& small_template();
engine::TokenId end_of_turn_id();

// One bank, one head: pages of 1,024 bytes. The vocabulary is small_tokenizer()'s.
engine::ModelConfig small_config();
constexpr std::int64_t kSmallPageBytes = 1024;

using Messages = std::vector<engine::ChatMessage>;

// A turn as the API would make it: rendered, history measured, canonical_reply set, no sink.
TurnRequest chat_turn(const Messages& messages, std::int64_t max_tokens);
// Keeps sampling to letters and spaces, so that replies are text.
void only_letters(TurnRequest& turn);
// Random words from a small set, so that texts share prefixes.
std::string random_words(std::uint64_t seed, std::int64_t words);

// What came out of a turn.
struct Outcome {
    std::string text;
    std::vector<engine::TokenId> ids;  // When logprobs were asked for.
    std::int64_t last_events = 0;      // Must become 1.
    bool has_failed = false;
    FinishReason finish = FinishReason::kError;
    ErrorCode error = ErrorCode::kInvalidArgument;
    TurnUsage first_usage, usage;
};

// Steps by hand. Every finished turn is checked against the invariants of design §11.
class ChatWorld {
  public:
    explicit ChatWorld(const SchedulerOptions& options,
                       std::unique_ptr<engine::Engine> engine = nullptr);  // Null: fake.

    // The outcome lives as long as the world. CHECKs that the turn is taken.
    Outcome& submit(TurnRequest turn);
    Result<TurnId> try_submit(TurnRequest turn, Outcome& outcome);
    Outcome& run(TurnRequest turn);  // Submits and steps until all is done.
    void run_all();
    TurnId last_id() const { return last_id_; }

    Scheduler& scheduler() { return *scheduler_; }
    ManualClock& clock() { return clock_; }
    const std::vector<TurnReport>& reports() const { return reports_; }
    SchedulerStats stats() const { return *scheduler_->stats(); }

  private:
    ManualClock clock_;
    std::vector<TurnReport> reports_;
    std::vector<std::unique_ptr<Outcome>> outcomes_;
    TurnId last_id_ = 0;
    std::unique_ptr<Scheduler> scheduler_;
};

// Options with room for `pages` small pages.
SchedulerOptions options_with_pages(std::int64_t pages);

}  // namespace hearth::testing
