// conversations: made-up dialogues for the chat benchmark, the same for every server that gets
// them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace hearth::bench {

struct Conversation {
    std::string id;                       // Unlike every other's, of other seeds too.
    std::string system;                   // About 200 tokens; no two share a beginning.
    std::vector<std::string> user_turns;  // Of about 30 tokens each.
};

// The texts depend on the arguments alone. Those of another seed share nothing with them, so that
// no server finds them in its cache.
std::vector<Conversation> make_conversations(std::int64_t sessions, std::int64_t turns,
                                             std::uint64_t seed);

}  // namespace hearth::bench
