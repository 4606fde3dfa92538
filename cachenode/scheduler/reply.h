// Reply: from logits to text. Samples, detokenises, finds the end, and holds back what may be a
// stop.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cachenode/scheduler/turn.h"
#include "engine/text/sampler.h"
#include "engine/text/stop_strings.h"
#include "engine/text/tokenizer.h"

namespace hearth {

// State of one turn's reply. Depends on nothing but the request and its own logits, so a reply is
// the same whoever shares the batch. Scheduler's thread.
class Reply {
  public:
    // `turn` and `tokenizer` must outlive this.
    Reply(const engine::Tokenizer& tokenizer, const TurnRequest& turn);

    struct Step {
        engine::Sampled sampled;
        std::string text;    // Certain now: whole UTF-8, no part of a stop string.
        bool is_fed = true;  // False: the token ends the reply and is not part of it.
        bool has_ended = false;
        FinishReason finish = FinishReason::kStop;
    };
    Step sample(std::span<float> logits);
    // A token that another node sampled in this reply's place; what it adds was given out there.
    Step replay(engine::TokenId id);

    std::int64_t tokens() const { return tokens_; }    // Sampled, with the one that ended it.
    const std::string& text() const { return text_; }  // All text given out so far.

  private:
    bool ends(engine::TokenId id) const;
    Step take(engine::Sampled sampled);
    void follow_grammar(Step& step);

    const engine::Tokenizer& tokenizer_;
    const TurnRequest& turn_;
    engine::Sampler sampler_;
    engine::StreamingDetokenizer detokenizer_;
    engine::StopMatcher stops_;
    std::optional<engine::JsonState> grammar_;  // Where the reply is in the turn's grammar.
    engine::TokenMask allowed_;                 // By that; scratch of sample().
    std::int64_t tokens_ = 0;
    std::string text_;
};

}  // namespace hearth
