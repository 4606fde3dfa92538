// Determinism (design §1.3): the same chat gives the same bytes, however its turns are computed.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <set>
#include <string>

#include "common/base/rng.h"
#include "engine/fake_engine.h"
#include "engine/model/checkpoint.h"
#include "tests/cachenode/scheduler/chat_world.h"

namespace hearth {
namespace {

using engine::Role;
using engine::TokenId;
using testing::ChatWorld;
using testing::Messages;
using testing::Outcome;
using testing::random_words;

constexpr std::size_t kChats = 50;
constexpr std::size_t kTurns = 3;
constexpr std::int64_t kReplyTokens = 16;

struct Way {
    bool cache = true;
    std::size_t together = 1;  // Chats with a turn in flight at once.
    std::int32_t chunk_tokens_max = 1;
};

std::string name_of(const Way& way) {
    return std::string(way.cache ? "cache on" : "cache off") + ", " + std::to_string(way.together) +
           " together, chunks of " + std::to_string(way.chunk_tokens_max);
}

// One of 50 chats: its own persona or one of three shared ones, greedy or seeded.
struct Chat {
    Messages messages;
    engine::SamplingParams sampling;
    std::uint64_t seed = 0;
    std::string replies;       // All bytes so far ...
    std::vector<TokenId> ids;  // ... and all tokens.
};

std::vector<Chat> make_chats(bool is_greedy) {
    std::vector<Chat> chats(kChats);
    for (std::size_t i = 0; i < kChats; ++i) {
        Chat& chat = chats[i];
        chat.seed = 1000 + i;
        const std::uint64_t persona = i % 3 == 0 ? chat.seed : i % 3;
        Rng rng(chat.seed);
        chat.messages = {{Role::kSystem, random_words(persona, 20)},
                         {Role::kUser, random_words(rng.next(), 2 + (i % 11))}};
        chat.sampling.temperature = is_greedy ? 0.0f : 0.8f;
        chat.sampling.seed = chat.seed;
        if (!is_greedy && i % 2 == 0) chat.sampling.top_p = 0.9f;
        if (!is_greedy && i % 5 == 0) chat.sampling.top_k = 20;
        if (i % 7 == 0) chat.sampling.repetition_penalty = 1.3f;
    }
    return chats;
}

// A random model, which has small_tokenizer()'s vocabulary as all tiny ones, or the fake engine.
class EngineSource {
  public:
    EngineSource() {
        path_ = ::testing::TempDir() + "determinism-" + std::to_string(getpid()) + ".gguf";
        const engine::TinyModelOptions options{.seed = 7,
                                               .hidden = 32,
                                               .ffn_hidden = 64,
                                               .layers = 3,
                                               .heads = 2,
                                               .head_dim = 16,
                                               .context_length = 2048,
                                               .window = 40,
                                               .global_every = 3,
                                               .share_kv = 2};
        const Result<void> written = engine::write_tiny_model(path_, options);
        CHECK_MSG(written.ok(), written.error().message);
    }
    ~EngineSource() { std::remove(path_.c_str()); }

    std::unique_ptr<engine::Engine> make(const std::string& backend) const {
        if (backend == "fake") return engine::make_fake_engine(testing::small_config());
        auto checkpoint = engine::load_checkpoint(path_);
        CHECK_MSG(checkpoint.ok(), checkpoint.error().message);
        auto made = engine::make_engine(std::move(*checkpoint), {.backend = backend, .threads = 1});
        CHECK_MSG(made.ok(), made.error().message);
        return std::move(*made);
    }

  private:
    std::string path_;
};

void take_turns(ChatWorld& world, std::span<Chat> chats, bool is_last) {
    std::vector<const Outcome*> outcomes;
    for (Chat& chat : chats) {
        TurnRequest turn = testing::chat_turn(chat.messages, kReplyTokens);
        turn.session = SessionKey{chat.seed, 1};
        turn.sampling = chat.sampling;
        turn.sampling.top_logprobs = 0;
        testing::only_letters(turn);
        outcomes.push_back(&world.submit(std::move(turn)));
    }
    world.run_all();
    for (std::size_t i = 0; i < chats.size(); ++i) {
        Chat& chat = chats[i];
        chat.replies += outcomes[i]->text + "\n";
        chat.ids.insert(chat.ids.end(), outcomes[i]->ids.begin(), outcomes[i]->ids.end());
        if (is_last) continue;
        chat.messages.push_back({Role::kAssistant, outcomes[i]->text});
        chat.messages.push_back({Role::kUser, random_words(chat.seed + chat.ids.size(), 4)});
    }
}

std::vector<Chat> replay(std::unique_ptr<engine::Engine> engine, const Way& way, bool is_greedy) {
    SchedulerOptions options;
    options.kv_bytes_max = 2'000 * static_cast<std::int64_t>(engine->kv_layout().page_bytes());
    options.cache = way.cache;
    options.sequences_max = static_cast<std::int32_t>(way.together);
    options.chunk_tokens_max = way.chunk_tokens_max;
    ChatWorld world(options, std::move(engine));
    std::vector<Chat> chats = make_chats(is_greedy);
    for (std::size_t first = 0; first < kChats; first += way.together) {
        const std::size_t count = std::min(way.together, kChats - first);
        const auto wave = std::span(chats).subspan(first, count);
        for (std::size_t turn = 1; turn <= kTurns; ++turn) {
            take_turns(world, wave, turn == kTurns);
        }
    }
    const SchedulerStats stats = world.stats();
    EXPECT_EQ(stats.prompt_tokens_device > 0, way.cache);
    EXPECT_EQ(stats.turns_full_hit, way.cache ? kChats * (kTurns - 1) : 0);
    return chats;
}

class DeterminismTest : public ::testing::TestWithParam<std::string> {
  protected:
    static void compare_all_ways(bool is_greedy) {
        const EngineSource source;
        const Way plain{.cache = false, .together = 1, .chunk_tokens_max = 4096};
        const std::vector<Chat> want = replay(source.make(GetParam()), plain, is_greedy);
        std::set<std::string> distinct;
        for (const Chat& chat : want) distinct.insert(chat.replies);
        EXPECT_GT(distinct.size(), kChats * 9 / 10) << "the replies hardly depend on the chat";
        for (const bool cache : {true, false}) {
            for (const std::size_t together : {std::size_t{1}, std::size_t{16}}) {
                for (const std::int32_t chunk : {1, 7, 64, 4096}) {
                    const Way way{cache, together, chunk};
                    SCOPED_TRACE(name_of(way));
                    const std::vector<Chat> got = replay(source.make(GetParam()), way, is_greedy);
                    for (std::size_t i = 0; i < kChats; ++i) {
                        ASSERT_EQ(got[i].replies, want[i].replies) << "chat " << i;
                        ASSERT_EQ(got[i].ids, want[i].ids) << "chat " << i;
                    }
                }
            }
        }
    }
};

TEST_P(DeterminismTest, GreedyRepliesAreTheSameInEveryWay) {
    compare_all_ways(true);
}
TEST_P(DeterminismTest, SeededRepliesAreTheSameInEveryWay) {
    compare_all_ways(false);
}

INSTANTIATE_TEST_SUITE_P(Engines, DeterminismTest, ::testing::Values("fake", "cpu"),
                         [](const auto& instance) { return instance.param; });

}  // namespace
}  // namespace hearth
