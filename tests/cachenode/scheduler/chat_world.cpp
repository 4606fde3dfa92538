// A small vocabulary, a small model shape, and the events of turns collected.
#include "tests/cachenode/scheduler/chat_world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/base/rng.h"
#include "engine/fake_engine.h"
#include "engine/formats/tiny_vocabulary.h"

namespace hearth::testing {
namespace {

using engine::TokenId;

engine::VocabularySpec small_vocabulary() {
    const engine::TinyVocabulary words = engine::make_tiny_vocabulary();
    engine::VocabularySpec spec;
    spec.pre_tokenizer = "gpt-2";
    spec.tokens = words.tokens;
    for (const std::int32_t type : words.types) {
        spec.types.push_back(type == 3 ? engine::TokenType::kControl : engine::TokenType::kNormal);
    }
    for (const std::string& merge : words.merges) {
        const std::size_t space = merge.find(' ');
        spec.merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
    }
    spec.eos = words.end_of_text;
    spec.end_of_turn = {words.message_end};
    return spec;
}

}  // namespace

const engine::Tokenizer& small_tokenizer() {
    static const std::unique_ptr<engine::Tokenizer> tokenizer = [] {
        auto made = engine::Tokenizer::make(small_vocabulary());
        CHECK_MSG(made.ok(), made.error().message);
        return std::move(*made);
    }();
    return *tokenizer;
}

const engine::ChatTemplate& small_template() {
    static const engine::ChatTemplate chat = [] {
        auto made = engine::ChatTemplate::make(small_tokenizer(), "", "chatml");
        CHECK_MSG(made.ok(), made.error().message);
        return std::move(*made);
    }();
    return chat;
}

TokenId end_of_turn_id() {
    return small_tokenizer().spec().end_of_turn.front();
}

engine::ModelConfig small_config() {
    engine::ModelConfig config;
    config.vocab_size = static_cast<std::int32_t>(small_tokenizer().size());
    config.kv_banks = 1;
    config.kv_heads = 1;
    config.head_dim = 4;
    config.context_length = 2048;
    return config;
}

TurnRequest chat_turn(const Messages& messages, std::int64_t max_tokens) {
    TurnRequest turn;
    small_template().render(messages, true, turn.prompt);
    for (std::size_t n = messages.size(); n > 0; --n) {
        if (messages[n - 1].role != engine::Role::kAssistant) continue;
        std::vector<TokenId> history;
        const auto count = static_cast<std::ptrdiff_t>(n);
        small_template().render({messages.begin(), messages.begin() + count}, false, history);
        turn.history_tokens = std::ssize(history);
        break;
    }
    turn.canonical_reply = [](const std::string& reply) {
        std::vector<TokenId> ids;
        small_template().render_reply(reply, ids);
        return ids;
    };
    turn.max_tokens = max_tokens;
    turn.sampling.top_logprobs = 0;  // Gives the ids.
    return turn;
}

void only_letters(TurnRequest& turn) {
    for (TokenId id = 0; id < 256; ++id) {
        if ((id >= 'a' && id <= 'z') || id == ' ') continue;
        turn.sampling.logit_bias.emplace_back(id, -100.0f);
    }
}

std::string random_words(std::uint64_t seed, std::int64_t words) {
    static const std::vector<std::string> kWords = {"the ",  "other ", "lantern ", "on ", "a ",
                                                    "lake ", "told ",  "Mara ",    "er "};
    Rng rng(seed);
    std::string text;
    for (std::int64_t i = 0; i < words; ++i) text += kWords[rng.below(kWords.size())];
    return text;
}

SchedulerOptions options_with_pages(std::int64_t pages) {
    SchedulerOptions options;
    options.kv_bytes_max = pages * kSmallPageBytes;
    return options;
}

ChatWorld::ChatWorld(const SchedulerOptions& options, std::unique_ptr<engine::Engine> engine) {
    SchedulerObserver observer;
    observer.turn_done = [this](const TurnReport& report) { reports_.push_back(report); };
    if (engine == nullptr) engine = engine::make_fake_engine(small_config());
    scheduler_ = std::make_unique<Scheduler>(std::move(engine), small_tokenizer(), options, clock_,
                                             std::move(observer));
}

Result<TurnId> ChatWorld::try_submit(TurnRequest turn, Outcome& outcome) {
    turn.sink = [&outcome](TurnEvent event) {
        EXPECT_EQ(outcome.last_events, 0) << "an event after the last one";
        if (event.kind == TurnEvent::Kind::kToken) {
            const bool is_first = outcome.text.empty() && outcome.ids.empty();
            if (is_first) outcome.first_usage = event.usage;
            outcome.text += event.text;
            for (const auto& sampled : event.logprobs) outcome.ids.push_back(sampled.id);
            return;
        }
        ++outcome.last_events;
        outcome.has_failed = event.kind == TurnEvent::Kind::kFailed;
        outcome.finish = event.finish;
        outcome.error = event.error.code;
        outcome.usage = event.usage;
        std::int64_t missed = 0;
        for (const auto& [reason, tokens] : event.usage.missed) {
            EXPECT_GT(tokens, 0) << reason;
            missed += tokens;
        }
        EXPECT_EQ(event.usage.reused_tokens + missed, event.usage.reusable_tokens);
        EXPECT_LE(event.usage.reused_tokens, event.usage.cached_tokens);
        if (event.usage.prompt_tokens > 0) {
            EXPECT_LT(event.usage.cached_tokens, event.usage.prompt_tokens);
        }
    };
    return scheduler_->submit(std::move(turn));
}

Outcome& ChatWorld::submit(TurnRequest turn) {
    outcomes_.push_back(std::make_unique<Outcome>());
    const Result<TurnId> id = try_submit(std::move(turn), *outcomes_.back());
    CHECK_MSG(id.ok(), id.error().message);
    last_id_ = id.value();
    return *outcomes_.back();
}

void ChatWorld::run_all() {
    while (scheduler_->step()) {
    }
    for (const auto& outcome : outcomes_) EXPECT_EQ(outcome->last_events, 1);
}

Outcome& ChatWorld::run(TurnRequest turn) {
    Outcome& outcome = submit(std::move(turn));
    run_all();
    return outcome;
}

}  // namespace hearth::testing
