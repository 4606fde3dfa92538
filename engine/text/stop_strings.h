// StopMatcher: finds stop strings in streamed text and holds back what may become one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hearth::engine {

// One owner. What comes out does not depend on how the text was cut into calls: it is all text
// before the stop string that is complete first (of those that end together, the longest).
class StopMatcher {
  public:
    // Empty strings are ignored.
    explicit StopMatcher(const std::vector<std::string>& stops);

    struct Step {
        std::string text;      // Safe to emit; never part of a stop string.
        bool matched = false;  // A stop string is complete; it and all after it are dropped.
    };
    // Linear in `text`, for each stop string.
    Step add(std::string_view text);
    // The text that was held back, when the stream ends without a match.
    std::string finish();
    bool matched() const { return matched_; }

  private:
    // One Knuth-Morris-Pratt automaton; `seen` bytes of `stop` are matched so far.
    struct Automaton {
        std::string stop;
        std::vector<std::size_t> failure;
        std::size_t seen = 0;
    };
    std::vector<Automaton> automata_;
    std::string held_;
    bool matched_ = false;
};

}  // namespace hearth::engine
