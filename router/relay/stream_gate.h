// LineGate and Continuation: which bytes of a node's stream the client may have already.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace hearth {

// For streams of servers that are not ours: holds back a line that has not ended, so that a node
// which dies in the middle of one can still be followed by an error event. Owned by one answer.
class LineGate {
  public:
    // A line longer than this is passed on as it comes.
    static constexpr std::size_t kHeldBytesMax = 256 * 1024;

    // What may go on now, in order; valid until the next call and as long as `piece`. Copies
    // nothing when `piece` ends with a line.
    std::string_view take(std::string_view piece);
    // What is held back still, at the end of a whole answer.
    std::string_view rest() const { return held_; }
    // What has gone on ends with a line, so an event may follow.
    bool at_line_end() const { return !in_line_; }
    // ... with an empty line, so what follows is an event of its own.
    bool at_event_end() const;
    // The last that went on was the end mark of OpenAI's streams.
    bool is_done() const;

  private:
    void note(std::string_view passed);

    std::string held_;
    std::string out_;
    std::string last_;  // The last few bytes that went on.
    bool in_line_ = false;
};

// For streams of Hearth nodes: passes whole events on, takes the router's notes out of them, and
// remembers what an heir needs to go on behind the last event that was passed on. Owned by one
// turn; lives through all its nodes. Notes: common/wire/headers.h.
class Continuation {
  public:
    static constexpr std::size_t kDeliveredBytesMax = 1 << 20;

    // The answer of the first node, or of one that goes on. `turn`: its hearth-turn.
    void begin(std::string_view turn);
    // Whole events, without notes; valid until the next call. The end of the stream is held back
    // until it is whole.
    std::string_view take(std::string_view piece);
    // Nothing more comes. The held end if the reply is whole, else nothing: an heir must go on.
    // `clean`: the node ended its answer itself.
    std::optional<std::string_view> finish(bool clean);

    bool gave_up() const { return end_ == End::kLost; }  // The node said so itself.
    // Of the last event that was passed on, where events are numbered (/v1/responses).
    std::optional<std::uint64_t> last_number() const { return last_number_; }
    // False if more was delivered than is remembered.
    bool possible() const { return !overflow_; }
    const std::string& turn() const { return turn_; }
    const std::string& delivered() const { return delivered_; }  // " 12 7 99"

  private:
    enum class End { kNone, kWhole, kLost };
    // Of one event, or of several that belong together.
    void take_events(std::string_view events);
    void note_number(std::string_view events);

    std::string turn_;
    std::string delivered_;
    std::string held_;  // Half an event, or the end.
    std::string out_;
    End end_ = End::kNone;
    std::optional<std::uint64_t> last_number_;
    bool overflow_ = false;
};

}  // namespace hearth
