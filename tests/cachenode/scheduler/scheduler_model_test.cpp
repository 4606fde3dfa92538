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

#include "cachenode/transfer/http_transport.h"
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
    std::size_t node = 0;  // Where its turns go.
};

// One life of one node, and what its turns said of their tokens.
struct Node {
    std::set<std::byte*> pages;
    std::unique_ptr<ChatWorld> world;
    std::int64_t prompt_tokens = 0, cached_tokens = 0;
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
    // `folder`: of the nodes' disk tiers; empty = none.
    ModelCheck(std::uint64_t seed, const SchedulerOptions& options, std::string folder = {},
               std::size_t nodes = 1)
        : rng_(seed),
          nodes_(nodes),
          options_(options),
          folder_(std::move(folder)),
          reference_(without_cache()) {
        for (std::size_t i = 0; i < nodes; ++i) restart(i);
        for (std::uint64_t i = 0; i < 8; ++i) chats_.push_back(new_chat(i));
    }

    void run(int operations) {
        for (int i = 0; i < operations && !::testing::Test::HasFailure(); ++i) {
            const std::uint64_t kind = rng_.below(100);
            if (kind < 30) {
                submit(chats_[rng_.below(chats_.size())]);
            } else if (kind < 33 && !flying_.empty()) {
                Flying& turn = *flying_[rng_.below(flying_.size())];
                nodes_[turn.node].world->scheduler().cancel(turn.id);
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
                if (rng_.below(2) == 0) restart(rng_.below(nodes_.size()));
            } else if (kind < 45 && nodes_.size() > 1) {
                move(chats_[rng_.below(chats_.size())]);
            } else {
                const auto time = static_cast<MonotonicNs>(rng_.below(3)) * 100 * kSecond;
                for (Node& node : nodes_) {
                    node.world->clock().advance(time);
                    for (std::uint64_t n = rng_.below(60); n > 0; --n)
                        node.world->scheduler().step();
                }
            }
            check_counts();
            land();
        }
        finish_all();
    }
    std::int64_t loaded() const {
        std::int64_t sum = loaded_;
        for (const Node& node : nodes_) sum += node.world->stats().disk.loaded;
        return sum;
    }
    std::int64_t corrupt_on_disk() const {
        std::int64_t sum = corrupt_;
        for (const Node& node : nodes_) sum += node.world->stats().disk.corrupt;
        return sum;
    }
    SchedulerStats stats() const { return nodes_[0].world->stats(); }  // Of a lone node.
    std::int64_t checked() const { return checked_; }
    std::int64_t moved() const { return moved_; }
    std::int64_t corrupt_on_wire() const { return corrupt_on_wire_; }
    std::int64_t found_after_moves() const { return found_after_moves_; }

  private:
    struct Flying {
        TurnId id = 0;
        TurnRequest request;
        std::size_t chat = 0, node = 0;
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
        for (Node& node : nodes_) settle(node);
        land();
        EXPECT_TRUE(flying_.empty());
        for (const Node& node : nodes_) check_at_rest(node);
    }
    static void settle(Node& node) {
        while (node.world->scheduler().step()) {
        }
    }

    // A new life of the node: memory and ledger are empty, the disk is as it was.
    void restart(std::size_t at) {
        Node& node = nodes_[at];
        if (node.world != nullptr) {
            loaded_ += node.world->stats().disk.loaded;
            corrupt_ += node.world->stats().disk.corrupt;
        }
        node.world.reset();
        node = {};
        node.world = std::make_unique<ChatWorld>(options_, std::make_unique<PageSpy>(node.pages));
        if (folder_.empty()) return;
        const DiskTierOptions disk{.folder = folder_ + "/" + std::to_string(at),
                                   .bytes_max = 200 * 1408,
                                   .has_threads = false};
        std::filesystem::create_directories(folder_);
        const auto opened = node.world->scheduler().open_disk(disk);
        ASSERT_TRUE(opened.ok()) << opened.error().message;
    }

    // As a peer does it: what memory and disk have of the session goes as frames, of which a bit
    // may change on the way, into another node; and then it may go here.
    void move(Chat& chat) {
        const std::size_t to = rng_.below(nodes_.size());
        if (chat.is_busy || !chat.session || to == chat.node) return;
        Node& from = nodes_[chat.node];
        std::string bytes;
        std::optional<HeldSession> held;
        KvView::Then hold = [&](KvView& kv) {
            held = hold_session(kv, *chat.session, chat.salt);
            if (!held) return;
            FrameWriter frames(*held, testing::kSmallPageBytes);
            for (auto piece = frames.next(); !piece.empty(); piece = frames.next()) bytes += piece;
        };
        from.world->scheduler().post([&](KvView& kv) {
            if (!restore_session(kv, *chat.session, chat.salt, hold)) hold(kv);
        });
        settle(from);
        chat.node = to;  // Its next turn goes there, whatever becomes of this.
        const bool is_spoilt = rng_.below(4) == 0;
        if (is_spoilt && !bytes.empty())
            bytes[rng_.below(bytes.size())] ^= static_cast<char>(1 << rng_.below(8));
        const bool is_in = !bytes.empty() && take_in(nodes_[to], *chat.session, chat.salt, bytes);
        EXPECT_FALSE(is_in && is_spoilt) << "a changed frame was believed";
        corrupt_on_wire_ += is_spoilt && !bytes.empty();
        moved_ += is_in;
        from.world->scheduler().post([&](KvView& kv) {
            if (held && is_in && rng_.below(2) == 0) release_session(kv, std::move(*held));
            held.reset();
        });
        settle(from);
    }

    bool take_in(Node& node, const SessionKey& key, const std::string& salt,
                 const std::string& bytes) {
        FrameReader reader(testing::kSmallPageBytes);
        bool is_in = false;
        node.world->scheduler().post([&](KvView& kv) {
            const bool is_read = reader.feed(bytes).ok();
            if (reader.sessions().empty()) return;
            const WireSession& session = reader.sessions().front();
            EXPECT_EQ(session.key, key);
            EXPECT_EQ(session.salt, salt);
            auto import = SessionImport::begin(kv, session);
            if (!import) return;
            import->take(kv, reader.take_pages());  // Those that came whole may stay.
            is_in = is_read && reader.at_end();
            if (is_in) import->finish(kv);
        });
        settle(node);
        return is_in;
    }

    void flip_a_byte_on_disk() {
        std::vector<std::filesystem::path> files;
        for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_)) {
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
        Node& node = nodes_[rng_.below(nodes_.size())];
        settle(node);
        if (node.pages.empty()) return;
        auto page = node.pages.begin();
        std::advance(page, static_cast<std::ptrdiff_t>(rng_.below(node.pages.size())));
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
        flying->node = chat.node;
        Node& node = nodes_[chat.node];
        const auto id = node.world->try_submit(std::move(turn), flying->outcome);
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
        Node& node = nodes_[turn.node];
        node.prompt_tokens += got.usage.prompt_tokens;
        node.cached_tokens += got.usage.cached_tokens;
        if (turn.node > 0) found_after_moves_ += got.usage.cached_tokens;
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
        for (const Node& node : nodes_) check_counts(node.world->stats());
    }
    void check_counts(const SchedulerStats& stats) {
        EXPECT_LE(stats.kv_bytes_used, options_.kv_bytes_max);
        EXPECT_LE(stats.pages_cached, stats.pages_used);
        EXPECT_LE(stats.pages_used, stats.pages_total);
        EXPECT_LE(stats.running, options_.sequences_max);
        std::int64_t missed = 0;
        for (const auto& [reason, tokens] : stats.missed_tokens) missed += tokens;
        EXPECT_EQ(stats.reused_tokens + missed, stats.reusable_tokens);
    }

    static void check_at_rest(const Node& node) {
        const SchedulerStats stats = node.world->stats();
        EXPECT_EQ(stats.pages_used, stats.pages_cached);
        EXPECT_EQ(stats.running + stats.waiting + stats.queued_tokens, 0);
        const std::int64_t cached = stats.prompt_tokens_device + stats.prompt_tokens_disk;
        EXPECT_EQ(cached, node.cached_tokens);
        EXPECT_EQ(cached + stats.prompt_tokens_computed, node.prompt_tokens);
        EXPECT_EQ(stats.kv_bytes_used, stats.pages_used * testing::kSmallPageBytes);
        EXPECT_EQ(stats.disk.pages_pending, 0);
        EXPECT_LE(stats.disk.bytes, stats.disk.bytes_max);
    }

    Rng rng_;
    std::vector<Node> nodes_;
    SchedulerOptions options_;
    std::string folder_;
    std::int64_t loaded_ = 0, corrupt_ = 0;  // In earlier lives.
    ChatWorld reference_;
    std::uint64_t sessions_ = 0;
    std::vector<Chat> chats_;
    std::vector<std::unique_ptr<Flying>> flying_;
    std::map<std::string, EverComputed> computed_;
    std::int64_t checked_ = 0, moved_ = 0, corrupt_on_wire_ = 0, found_after_moves_ = 0;
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

// Three nodes between which chats move, with disks, restarts, and bits that change on the wire.
TEST(SchedulerModel, RandomChatsThatMove) {
    std::int64_t moved = 0, spoilt = 0, found = 0;
    for (std::uint64_t seed = 1; seed <= 6; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        const std::filesystem::path folder =
            std::filesystem::path(::testing::TempDir()) /
            ("hearth-moves-" + std::to_string(getpid()) + "-" + std::to_string(seed));
        std::filesystem::remove_all(folder);
        SchedulerOptions options = testing::options_with_pages(24 + static_cast<int>(4 * seed));
        options.sequences_max = 1 + static_cast<std::int32_t>(seed % 5);
        {
            ModelCheck check(seed, options, seed % 3 == 0 ? "" : folder.string(), 3);
            check.run(1'700);
            EXPECT_GT(check.checked(), 100);
            moved += check.moved();
            spoilt += check.corrupt_on_wire();
            found += check.found_after_moves();
        }
        std::filesystem::remove_all(folder);
    }
    EXPECT_GT(moved, 100);
    EXPECT_GT(spoilt, 20);
    EXPECT_GT(found, 10'000) << "nothing was found where chats had moved to";
}

}  // namespace
}  // namespace hearth
