// conversations: words drawn by a seeded generator; what they say does not matter to speed.
#include "tests/bench/chat/conversations.h"

#include "common/base/rng.h"

namespace hearth::bench {
namespace {

constexpr const char* kWords[] = {
    "river", "lantern", "morning", "captain", "garden",  "letter", "winter",  "music",   "bridge",
    "story", "window",  "island",  "forest",  "teacher", "market", "silver",  "engine",  "harbour",
    "quiet", "sudden",  "gentle",  "clever",  "broken",  "hidden", "yellow",  "ancient", "tired",
    "asks",  "finds",   "keeps",   "carries", "follows", "builds", "forgets", "sings",   "waits",
    "under", "behind",  "before",  "without", "across",  "almost", "never",   "always",  "slowly",
    "the",   "a",       "my",      "your",    "their",   "and",    "but",     "while",   "because"};

std::string sentences(Rng& rng, int words) {
    std::string out;
    for (int i = 0; i < words; ++i) {
        if (i > 0) out += i % 11 == 0 ? ". " : " ";
        out += kWords[rng.below(std::size(kWords))];
    }
    return out;
}

}  // namespace

std::vector<Conversation> make_conversations(std::int64_t sessions, std::int64_t turns,
                                             std::uint64_t seed) {
    std::vector<Conversation> out;
    for (std::int64_t session = 0; session < sessions; ++session) {
        Rng rng(mix64(seed) ^ static_cast<std::uint64_t>(session));
        Conversation chat;
        chat.id = "bench-" + std::to_string(seed) + "-" + std::to_string(session);
        chat.system = "You are " + sentences(rng, 160) + ".";
        for (std::int64_t turn = 0; turn < turns; ++turn)
            chat.user_turns.push_back("Tell me: " + sentences(rng, 18) + "?");
        out.push_back(std::move(chat));
    }
    return out;
}

}  // namespace hearth::bench
