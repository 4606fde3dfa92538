// Random chats on a small cache against the same turns computed from nothing: replies, counts,
// salts.
#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>

#include "common/base/rng.h"
#include "engine/fake_engine.h"
#include "tests/cachenode/scheduler/chat_world.h"

namespace hearth {
namespace {

using engine::Role;
using engine::TokenId;
using testing::ChatWorld;
using testing::Messages;
using testing::Outcome;
using testing::random_words;
using Ids = std::vector<TokenId>;

struct Chat {
    std::optional<SessionKey> session;
    std::string salt;
    Messages messages;  // Ends with the user's question.
    bool is_busy = false;
};

// Everything whose KV was ever computed under one salt, in order: the most a cache could know.
class EverComputed {
  public:
    void add(Ids tokens) { all_.insert(std::move(tokens)); }
    std::int64_t longest_prefix(const Ids& prompt) const {
        std::int64_t best = 0;
        const auto consider = [&](const Ids& other) {
            const auto ends =
                std::mismatch(prompt.begin(), prompt.end(), other.begin(), other.end());
            best = std::max<std::int64_t>(best, ends.first - prompt.begin());
        };
        const auto at = all_.lower_bound(prompt);  // Sorted: the best is a neighbour.
        if (at != all_.end()) consider(*at);
        if (at != all_.begin()) consider(*std::prev(at));
        return best;
    }

  private:
    std::set<Ids> all_;
};

// The fake engine, which remembers where pages lie, so that a test can flip their bytes.
class PageSpy final : public engine::Engine {
  public:
    explicit PageSpy(std::set<std::byte*>& pages)
        : engine_(engine::make_fake_engine(testing::small_config())), pages_(pages) {}
    const engine::ModelConfig& config() const override { return engine_->config(); }
    const engine::KvLayout& kv_layout() const override { return engine_->kv_layout(); }
    std::string backend_name() const override { return "spy"; }
    void step(std::span<const engine::Slice> batch, std::span<float> logits) override {
        for (const engine::Slice& slice : batch) {
            pages_.insert(slice.pages.begin(), slice.pages.end());
        }
        engine_->step(batch, logits);
    }

  private:
    std::unique_ptr<engine::Engine> engine_;
    std::set<std::byte*>& pages_;
};

class ModelCheck {
  public:
    // `folder`: of a disk tier; empty = none.
    ModelCheck(std::uint64_t seed, const SchedulerOptions& options, std::string folder = {})
        : rng_(seed), options_(options), folder_(std::move(folder)), reference_(without_cache()) {
        restart();
        for (std::uint64_t i = 0; i < 8; ++i) chats_.push_back(new_chat(i));
    }

    void run(int operations) {
        for (int i = 0; i < operations && !::testing::Test::HasFailure(); ++i) {
            const std::uint64_t kind = rng_.below(100);
            if (kind < 30) {
                submit(chats_[rng_.below(chats_.size())]);
            } else if (kind < 33 && !flying_.empty()) {
                Flying& turn = *flying_[rng_.below(flying_.size())];
                world_->scheduler().cancel(turn.id);
                turn.is_cancelled = true;
            } else if (kind < 36) {
                edit(chats_[rng_.below(chats_.size())]);
            } else if (kind < 38) {
                chats_[rng_.below(chats_.size())] = branch(chats_[rng_.below(chats_.size())]);
            } else if (kind < 39) {
                flip_a_byte();
            } else if (kind < 40 && !folder_.empty()) {
                finish_all();
                flip_a_byte_on_disk();
                if (rng_.below(2) == 0) restart();
            } else {
                world_->clock().advance(static_cast<MonotonicNs>(rng_.below(3)) * 100 * kSecond);
                for (std::uint64_t n = rng_.below(60); n > 0; --n) world_->scheduler().step();
            }
            check_counts();
            land();
        }
        finish_all();
    }
    std::int64_t loaded() const { return loaded_ + world_->stats().disk.loaded; }
    std::int64_t corrupt_on_disk() const { return corrupt_ + world_->stats().disk.corrupt; }
    SchedulerStats stats() const { return world_->stats(); }
    std::int64_t checked() const { return checked_; }

  private:
    struct Flying {
        TurnId id = 0;
        TurnRequest request;
        std::size_t chat = 0;
        bool is_cancelled = false;
        Outcome outcome;
    };

    static SchedulerOptions without_cache() {
        SchedulerOptions options = testing::options_with_pages(40);
        options.cache = false;
        return options;
    }

    Chat new_chat(std::uint64_t i) {
        Chat chat;
        if (i % 4 != 3) chat.session = SessionKey{i, ++sessions_};
        chat.salt = std::vector<std::string>{"", "a", "b"}[i % 3];
        // Two personas, shared within and across salts.
        chat.messages = {{Role::kSystem, random_words(i % 2, 30)}, {Role::kUser, question()}};
        return chat;
    }

    std::string question() {
        return random_words(rng_.below(20), 1 + static_cast<int>(rng_.below(9)));
    }

    void finish_all() {
        while (world_->scheduler().step()) {
        }
        land();
        EXPECT_TRUE(flying_.empty());
        check_at_rest();
    }

    // A new life of the node: memory and ledger are empty, the disk is as it was.
    void restart() {
        if (world_ != nullptr) {
            loaded_ += world_->stats().disk.loaded;
            corrupt_ += world_->stats().disk.corrupt;
        }
        world_.reset();
        pages_.clear();
        prompt_tokens_ = cached_tokens_ = 0;
        world_ = std::make_unique<ChatWorld>(options_, std::make_unique<PageSpy>(pages_));
        if (folder_.empty()) return;
        const DiskTierOptions disk{
            .folder = folder_, .bytes_max = 200 * 1408, .has_threads = false};
        const auto opened = world_->scheduler().open_disk(disk);
        ASSERT_TRUE(opened.ok()) << opened.error().message;
    }

    void flip_a_byte_on_disk() {
        std::vector<std::filesystem::path> files;
        for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
            if (entry.path().extension() == ".kvlog") files.push_back(entry.path());
        }
        if (files.empty()) return;
        std::sort(files.begin(), files.end());
        const auto& path = files[rng_.below(files.size())];
        const auto at = static_cast<std::streamoff>(rng_.below(std::filesystem::file_size(path)));
        std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
        file.seekg(at);
        const auto byte = static_cast<char>(file.get() ^ static_cast<int>(1 << rng_.below(8)));
        file.seekp(at);
        file.put(byte);
    }

    // Of a page that no running turn reads: what is in use has no second chance.
    void flip_a_byte() {
        while (world_->scheduler().step()) {
        }
        if (pages_.empty()) return;
        auto page = pages_.begin();
        std::advance(page, static_cast<std::ptrdiff_t>(rng_.below(pages_.size())));
        (*page)[rng_.below(testing::kSmallPageBytes)] ^= static_cast<std::byte>(1 << rng_.below(8));
    }

    void edit(Chat& chat) {
        if (chat.is_busy) return;
        const std::size_t keep = 1 + rng_.below(chat.messages.size());
        chat.messages.resize(keep);
        if (chat.messages.back().role == Role::kUser) chat.messages.pop_back();
        chat.messages.push_back({Role::kUser, question()});
    }

    Chat branch(const Chat& from) {
        Chat chat = from;
        chat.is_busy = false;
        if (chat.session) chat.session = SessionKey{99, ++sessions_};
        return chat;
    }

    void submit(Chat& chat) {
        if (chat.is_busy) return;
        TurnRequest turn = testing::chat_turn(chat.messages, 1 + static_cast<int>(rng_.below(70)));
        if (std::ssize(turn.prompt) > 900) {
            chat = new_chat(rng_.below(8));
            return;
        }
        turn.session = chat.session;
        turn.salt = chat.salt;
        if (rng_.below(4) > 0) testing::only_letters(turn);  // Else replies with broken UTF-8 too.
        turn.sampling.temperature = rng_.below(2) == 0 ? 0.0f : 1.0f;
        turn.sampling.seed = rng_.below(5);
        turn.sampling.repetition_penalty = rng_.below(4) == 0 ? 1.2f : 1.0f;
        turn.ignore_eos = rng_.below(3) == 0;
        if (rng_.below(4) == 0) turn.stop = {"e", "th"};
        if (rng_.below(8) == 0) turn.keep_for = 500 * kSecond;
        turn.cache_read = rng_.below(12) > 0;
        turn.cache_write = rng_.below(12) > 0;
        if (rng_.below(6) == 0) turn.canonical_reply = nullptr;
        auto flying = std::make_unique<Flying>();
        flying->request = turn;
        flying->chat = static_cast<std::size_t>(&chat - chats_.data());
        const auto id = world_->try_submit(std::move(turn), flying->outcome);
        if (!id.ok()) {
            ASSERT_NE(id.error().code, ErrorCode::kInvalidArgument) << id.error().message;
            return;
        }
        flying->id = id.value();
        chat.is_busy = true;
        flying_.push_back(std::move(flying));
    }

    // Compares the turns that have ended with the reference, and lets their chats go on.
    void land() {
        for (auto& turn : flying_) {
            if (turn->outcome.last_events == 0) continue;
            ++checked_;
            compare(*turn);
            Chat& chat = chats_[turn->chat];
            chat.is_busy = false;
            if (turn->outcome.finish == FinishReason::kCancelled || rng_.below(5) == 0) continue;
            chat.messages.push_back({Role::kAssistant, turn->outcome.text});
            chat.messages.push_back({Role::kUser, question()});
        }
        std::erase_if(flying_, [](const auto& turn) { return turn->outcome.last_events > 0; });
    }

    void compare(const Flying& turn) {
        const Outcome& got = turn.outcome;
        Outcome want;
        TurnRequest alone = turn.request;
        ASSERT_TRUE(reference_.try_submit(std::move(alone), want).ok());
        while (reference_.scheduler().step()) {
        }
        if (turn.is_cancelled && got.finish == FinishReason::kCancelled) {
            EXPECT_EQ(got.text, want.text.substr(0, got.text.size()));
        } else {
            EXPECT_EQ(got.text, want.text);
            EXPECT_EQ(got.ids, want.ids);
            EXPECT_EQ(got.finish, want.finish);
            EXPECT_EQ(got.usage.completion_tokens, want.usage.completion_tokens);
        }
        if (got.usage.prompt_tokens > 0) {
            EXPECT_EQ(got.usage.prompt_tokens, std::ssize(turn.request.prompt));
        }
        // What was found had been computed under this salt, and never under another alone. Turns in
        // flight store whole pages early, so everything that they may reach counts as computed.
        EverComputed& computed = computed_[turn.request.salt];
        remember(turn, want, computed);
        for (const auto& other : flying_) {
            if (other->request.salt != turn.request.salt) continue;
            computed.add(other->request.prompt);
            Ids ids = other->request.prompt;
            ids.insert(ids.end(), other->outcome.ids.begin(), other->outcome.ids.end());
            computed.add(std::move(ids));
        }
        if (!turn.request.cache_read) {
            EXPECT_EQ(got.usage.cached_tokens, 0);
        }
        prompt_tokens_ += got.usage.prompt_tokens;
        cached_tokens_ += got.usage.cached_tokens;
    }

    void remember(const Flying& turn, const Outcome& want, EverComputed& computed) {
        // Its own tokens explain nothing about itself: look before adding.
        EverComputed before = computed;
        for (const auto& other : flying_) {
            if (other.get() != &turn && other->request.salt == turn.request.salt) {
                Ids ids = other->request.prompt;
                ids.insert(ids.end(), other->outcome.ids.begin(), other->outcome.ids.end());
                before.add(std::move(ids));
            }
        }
        EXPECT_LE(turn.outcome.usage.cached_tokens, before.longest_prefix(turn.request.prompt));
        Ids ids = turn.request.prompt;
        ids.insert(ids.end(), want.ids.begin(), want.ids.end());
        computed.add(ids);
        if (!turn.request.canonical_reply) return;
        Ids canonical = turn.request.prompt;
        const Ids reply = turn.request.canonical_reply(turn.outcome.text);
        canonical.insert(canonical.end(), reply.begin(), reply.end());
        computed.add(std::move(canonical));
    }

    void check_counts() {
        const SchedulerStats stats = world_->stats();
        EXPECT_LE(stats.kv_bytes_used, options_.kv_bytes_max);
        EXPECT_LE(stats.pages_cached, stats.pages_used);
        EXPECT_LE(stats.pages_used, stats.pages_total);
        EXPECT_LE(stats.running, options_.sequences_max);
        std::int64_t missed = 0;
        for (const auto& [reason, tokens] : stats.missed_tokens) missed += tokens;
        EXPECT_EQ(stats.reused_tokens + missed, stats.reusable_tokens);
    }

    void check_at_rest() {
        const SchedulerStats stats = world_->stats();
        EXPECT_EQ(stats.pages_used, stats.pages_cached);
        EXPECT_EQ(stats.running + stats.waiting + stats.queued_tokens, 0);
        const std::int64_t cached = stats.prompt_tokens_device + stats.prompt_tokens_disk;
        EXPECT_EQ(cached, cached_tokens_);
        EXPECT_EQ(cached + stats.prompt_tokens_computed, prompt_tokens_);
        EXPECT_EQ(stats.kv_bytes_used, stats.pages_used * testing::kSmallPageBytes);
        EXPECT_EQ(stats.disk.pages_pending, 0);
        EXPECT_LE(stats.disk.bytes, stats.disk.bytes_max);
    }

    Rng rng_;
    std::set<std::byte*> pages_;
    std::unique_ptr<ChatWorld> world_;
    SchedulerOptions options_;
    std::string folder_;
    std::int64_t loaded_ = 0, corrupt_ = 0;  // In earlier lives.
    ChatWorld reference_;
    std::uint64_t sessions_ = 0;
    std::vector<Chat> chats_;
    std::vector<std::unique_ptr<Flying>> flying_;
    std::map<std::string, EverComputed> computed_;
    std::int64_t prompt_tokens_ = 0, cached_tokens_ = 0, checked_ = 0;
};

TEST(SchedulerModel, RandomChatsWithAnAmpleCache) {
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        ModelCheck check(seed, testing::options_with_pages(5'000));
        check.run(1'000);
        EXPECT_GT(check.checked(), 100);
        EXPECT_EQ(check.stats().evicted_pages, 0);
        EXPECT_GT(check.stats().turns_full_hit, 50);
    }
}

TEST(SchedulerModel, RandomChatsUnderPressure) {
    std::int64_t corrupt = 0;
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        SchedulerOptions options = testing::options_with_pages(18 + static_cast<int>(3 * seed));
        options.sequences_max = 1 + static_cast<std::int32_t>(seed % 5);
        options.chunk_tokens_max = 1 + static_cast<std::int32_t>(seed * seed);
        options.step_tokens_max = 8 + static_cast<std::int32_t>(seed * 20);
        options.sessions_max = 3 + static_cast<std::int64_t>(seed % 4);
        options.queue_max = 4;
        if (seed % 3 == 0) options.kv_ttl = 400 * kSecond;
        ModelCheck check(seed, options);
        check.run(1'000);
        EXPECT_GT(check.checked(), 60);
        EXPECT_GT(check.stats().evicted_pages + check.stats().expired_pages, 50);
        corrupt += check.stats().corrupt_pages;
    }
    EXPECT_GT(corrupt, 10) << "flipped bytes were not met";
}

// The same with a disk beneath, whose bytes are flipped, and with restarts of the node.
TEST(SchedulerModel, RandomChatsOverADisk) {
    std::int64_t loaded = 0, corrupt = 0;
    for (std::uint64_t seed = 1; seed <= 6; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        const std::filesystem::path folder =
            std::filesystem::path(::testing::TempDir()) /
            ("hearth-model-" + std::to_string(getpid()) + "-" + std::to_string(seed));
        std::filesystem::remove_all(folder);
        SchedulerOptions options = testing::options_with_pages(24 + static_cast<int>(4 * seed));
        options.sequences_max = 1 + static_cast<std::int32_t>(seed % 5);
        options.chunk_tokens_max = 1 + static_cast<std::int32_t>(seed * seed * 3);
        {
            ModelCheck check(seed, options, folder);
            check.run(1'700);
            EXPECT_GT(check.checked(), 100);
            loaded += check.loaded();
            corrupt += check.corrupt_on_disk();
        }
        std::filesystem::remove_all(folder);
    }
    EXPECT_GT(loaded, 500);
    EXPECT_GT(corrupt, 5) << "flipped bytes were not met";
}

}  // namespace
}  // namespace hearth
