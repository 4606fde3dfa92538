// The scheduler's promises: reuse, accounting, limits, cancellation, order, threads.
#include "cachenode/scheduler/scheduler.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "cachenode/scheduler/sequence.h"
#include "tests/cachenode/scheduler/chat_world.h"

namespace hearth {
namespace {

using engine::Role;
using engine::TokenId;
using testing::chat_turn;
using testing::ChatWorld;
using testing::Messages;
using testing::options_with_pages;
using testing::Outcome;
using testing::random_words;

const SessionKey kSession{1, 2};

Messages opening(std::uint64_t seed = 1) {
    return {{Role::kSystem, random_words(seed, 40)}, {Role::kUser, random_words(seed + 1, 12)}};
}

TurnRequest session_turn(const Messages& messages, std::int64_t max_tokens = 30) {
    TurnRequest turn = chat_turn(messages, max_tokens);
    turn.session = kSession;
    testing::only_letters(turn);
    turn.ignore_eos = true;
    return turn;
}

void reply_and_ask(Messages& messages, const Outcome& outcome, const std::string& question) {
    messages.push_back({Role::kAssistant, outcome.text});
    messages.push_back({Role::kUser, question});
}

std::int64_t missed(const Outcome& outcome, const std::string& reason) {
    const auto found = outcome.usage.missed.find(reason);
    return found == outcome.usage.missed.end() ? 0 : found->second;
}

TEST(Scheduler, FollowUpTurnsComputeOnlyWhatIsNew) {
    ChatWorld world(options_with_pages(200));
    Messages messages = opening();
    std::int64_t computed_before = 0;
    for (int turn = 1; turn <= 8; ++turn) {
        TurnRequest request = session_turn(messages);
        const auto prompt = std::ssize(request.prompt);
        const Outcome& outcome = world.run(std::move(request));
        EXPECT_EQ(outcome.usage.prompt_tokens, prompt);
        EXPECT_EQ(outcome.usage.completion_tokens, 30);
        if (turn == 1) {
            EXPECT_EQ(outcome.usage.cached_tokens, 0);
            EXPECT_EQ(outcome.usage.reusable_tokens, 0);
        } else {
            EXPECT_EQ(outcome.usage.reused_tokens, outcome.usage.reusable_tokens);
            EXPECT_GE(outcome.usage.reusable_tokens, computed_before);
            // New are the closing of the reply, the question, and the reply prompt.
            EXPECT_LT(prompt - outcome.usage.cached_tokens, 70);
        }
        EXPECT_EQ(world.reports().back().turn, turn);
        // The last token's KV may be missing, and re-tokenising makes text shorter.
        computed_before = world.reports().back().session_tokens;
        reply_and_ask(messages, outcome, random_words(static_cast<std::uint64_t>(turn), 5));
    }
    const SchedulerStats stats = world.stats();
    EXPECT_EQ(stats.turns_first, 1);
    EXPECT_EQ(stats.turns_full_hit, 7);
    EXPECT_EQ(stats.reused_tokens, stats.reusable_tokens);
    EXPECT_GT(stats.canonical_tokens, 0) << "the replies never re-tokenised differently";
    EXPECT_EQ(stats.running + stats.waiting + stats.queued_tokens, 0);
    EXPECT_EQ(stats.pages_used, stats.pages_cached);
}

TEST(Scheduler, ASharedPersonaIsCachedForAStrangerButNotReusable) {
    ChatWorld world(options_with_pages(100));
    Messages first = opening();
    world.run(session_turn(first));
    Messages second = first;
    second.back().content = "Something else entirely?";
    TurnRequest request = session_turn(second);
    request.session = SessionKey{7, 7};
    const Outcome& outcome = world.run(std::move(request));
    EXPECT_GT(outcome.usage.cached_tokens, 100);
    EXPECT_EQ(outcome.usage.reusable_tokens, 0);
    EXPECT_EQ(world.stats().turns_first, 2);
}

TEST(Scheduler, ARegeneratedTurnIsAFullHit) {
    ChatWorld world(options_with_pages(100));
    const Messages messages = opening();
    const Outcome& first = world.run(session_turn(messages));
    const Outcome& again = world.run(session_turn(messages));
    EXPECT_EQ(again.text, first.text);
    EXPECT_EQ(again.usage.cached_tokens, again.usage.prompt_tokens - 1);
    EXPECT_EQ(again.usage.reusable_tokens, again.usage.prompt_tokens - 1);
    EXPECT_EQ(again.usage.reused_tokens, again.usage.reusable_tokens);
}

TEST(Scheduler, SaltsNeverShare) {
    ChatWorld world(options_with_pages(100));
    const Messages messages = opening();
    TurnRequest request = session_turn(messages);
    request.salt = "tenant-a";
    world.run(std::move(request));
    request = session_turn(messages);
    request.salt = "tenant-b";
    const Outcome& other = world.run(std::move(request));
    EXPECT_EQ(other.usage.cached_tokens, 0);
    EXPECT_EQ(other.usage.reusable_tokens, 0);
}

TEST(Scheduler, EditedHistoryIsNewTextAndNotAMiss) {
    ChatWorld world(options_with_pages(100));
    Messages messages = opening();
    reply_and_ask(messages, world.run(session_turn(messages)), "And then?");
    messages[1].content = "Quite another question!";
    const Outcome& outcome = world.run(session_turn(messages));
    EXPECT_EQ(outcome.usage.reused_tokens, outcome.usage.reusable_tokens);
    EXPECT_LT(outcome.usage.cached_tokens, outcome.usage.prompt_tokens - 40);
}

TEST(Scheduler, MissesSayWhy) {
    Messages messages = opening();
    ChatWorld world(options_with_pages(14));
    reply_and_ask(messages, world.run(session_turn(messages)), "And then?");

    TurnRequest declined = session_turn(messages);
    declined.cache_read = declined.cache_write = false;
    const Outcome& no_cache = world.run(std::move(declined));
    EXPECT_GT(missed(no_cache, "declined"), 100);
    EXPECT_EQ(no_cache.usage.cached_tokens, 0);

    TurnRequest stranger = session_turn(opening(50), 300);  // Needs nearly the whole pool.
    stranger.session = SessionKey{5, 5};
    world.run(std::move(stranger));
    EXPECT_GT(world.stats().evicted_pages, 0);
    const Outcome& evicted = world.run(session_turn(messages));
    EXPECT_GT(missed(evicted, "evicted"), 50);
}

TEST(Scheduler, ATurnFromElsewhereIsReroutedOrLost) {
    Messages messages = opening();
    ChatWorld home(options_with_pages(100));
    reply_and_ask(messages, home.run(session_turn(messages)), "And then?");
    const std::int64_t held = home.reports().back().session_tokens;
    for (const bool is_alive : {true, false}) {
        ChatWorld heir(options_with_pages(100));
        TurnRequest request = session_turn(messages);
        request.hint = {.known = true, .node_alive = is_alive, .tokens = held};
        const Outcome& outcome = heir.run(std::move(request));
        EXPECT_EQ(missed(outcome, is_alive ? "rerouted" : "node_lost"), held);
        EXPECT_EQ(outcome.usage.reusable_tokens, held);
        EXPECT_EQ(heir.stats().turns_miss, 1);
        EXPECT_EQ(heir.reports().back().turn, 2);
    }
}

TEST(Scheduler, WithoutCacheEveryTurnComputesAll) {
    SchedulerOptions options = options_with_pages(100);
    options.cache = false;
    ChatWorld world(options);
    Messages messages = opening();
    reply_and_ask(messages, world.run(session_turn(messages)), "And then?");
    const Outcome& outcome = world.run(session_turn(messages));
    EXPECT_EQ(outcome.usage.cached_tokens, 0);
    EXPECT_EQ(missed(outcome, "declined"), outcome.usage.reusable_tokens);
    EXPECT_GT(outcome.usage.reusable_tokens, 100);
    EXPECT_EQ(world.stats().pages_used, 0);
}

TEST(Scheduler, ANewTurnReusesWhatAPassHasDoneSoFar) {
    SchedulerOptions options = options_with_pages(100);
    options.chunk_tokens_max = 4;
    ChatWorld world(options);
    Messages messages = opening();
    Outcome& first = world.submit(session_turn(messages, 60));
    while (first.last_events == 0) world.scheduler().step();
    world.scheduler().step();  // A pass of 60 tokens has begun ...
    ASSERT_EQ(world.stats().canonical_tokens, 4);
    const std::int64_t sampled_alike = world.reports().back().session_tokens;
    reply_and_ask(messages, first, "And then?");
    const Outcome& outcome = world.run(session_turn(messages));
    // ... and the turn took it over: the rest was never stored, as other ids were computed.
    EXPECT_EQ(outcome.usage.reused_tokens, sampled_alike + 4);
    EXPECT_GT(missed(outcome, "diverged"), 0);
}

TEST(Scheduler, APassGivesWayToATurnThatNeedsItsPages) {
    SchedulerOptions options = options_with_pages(14);
    options.chunk_tokens_max = 1;
    ChatWorld world(options);
    Outcome& first = world.submit(session_turn(opening(), 200));
    while (first.last_events == 0) world.scheduler().step();
    world.scheduler().step();
    ASSERT_EQ(world.stats().canonical_tokens, 1);
    ASSERT_GT(world.stats().pages_used, world.stats().pages_cached);
    TurnRequest large = session_turn(opening(9), 600);
    large.session = SessionKey{9, 9};
    world.submit(std::move(large));
    world.scheduler().step();
    EXPECT_EQ(world.stats().running, 1);
    EXPECT_EQ(world.stats().canonical_tokens, 1);
    world.run_all();
}

// Bytes that are no text come out as U+FFFD, three ids for each that was sampled: the turn as the
// next prompt has it is longer than the context, and no prompt that long is ever asked for.
TEST(Scheduler, APassStaysWithinTheContext) {
    ChatWorld world(options_with_pages(200));
    const Messages messages = opening();
    TurnRequest turn = session_turn(messages);
    turn.sampling.logit_bias = {{TokenId{0x80}, 100.0f}};
    const std::int64_t context = testing::small_config().context_length;
    turn.max_tokens = context - std::ssize(turn.prompt);
    const Outcome& outcome = world.run(std::move(turn));
    EXPECT_EQ(outcome.text.size(), 3 * outcome.ids.size());
    EXPECT_GT(world.stats().canonical_tokens, context / 2);
    EXPECT_LT(world.stats().canonical_tokens, context);
}

TEST(Scheduler, RefusesWhatCanNeverFit) {
    ChatWorld world(options_with_pages(4));
    Outcome none;
    TurnRequest request = session_turn(opening(), 300);
    auto refused = world.try_submit(request, none);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, ErrorCode::kTooLarge);
    EXPECT_NE(refused.error().message.find("kv_memory"), std::string::npos);
    request.max_tokens = 5000;
    refused = world.try_submit(request, none);
    EXPECT_NE(refused.error().message.find("context_length"), std::string::npos);
    request.max_tokens = 0;
    EXPECT_EQ(world.try_submit(request, none).error().code, ErrorCode::kInvalidArgument);
    request.max_tokens = 1;
    request.prompt.push_back(100'000);
    EXPECT_EQ(world.try_submit(request, none).error().code, ErrorCode::kInvalidArgument);
    request.prompt.clear();
    EXPECT_EQ(world.try_submit(request, none).error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(none.last_events, 0);
}

TEST(Scheduler, AFullQueueRefusesAndRecovers) {
    SchedulerOptions options = options_with_pages(100);
    options.queue_max = 3;
    options.sequences_max = 1;
    ChatWorld world(options);
    for (int i = 0; i < 3; ++i) world.submit(session_turn(opening(), 2));
    Outcome none;
    EXPECT_EQ(world.try_submit(session_turn(opening(), 2), none).error().code,
              ErrorCode::kExhausted);
    world.scheduler().step();  // One runs now.
    world.submit(session_turn(opening(), 2));
    EXPECT_EQ(world.try_submit(session_turn(opening(), 2), none).error().code,
              ErrorCode::kExhausted);
    world.run_all();
    EXPECT_EQ(world.reports().size(), 4u);
}

TEST(Scheduler, TurnsWaitForPagesInOrder) {
    ChatWorld world(options_with_pages(10));
    std::vector<const Outcome*> outcomes;
    for (std::uint64_t i = 0; i < 4; ++i) {
        TurnRequest request = session_turn(opening(10 * i), 100);
        request.session = SessionKey{i, i};
        outcomes.push_back(&world.submit(std::move(request)));
    }
    std::size_t next = 0;
    std::int64_t steps = 0;
    while (world.scheduler().step()) {
        ++steps;
        EXPECT_LE(world.stats().pages_used, 10);
        while (next < outcomes.size() && outcomes[next]->last_events == 1) ++next;
        for (std::size_t i = next; i < outcomes.size(); ++i) {
            EXPECT_EQ(outcomes[i]->last_events, 0) << "overtaken";
        }
    }
    EXPECT_EQ(next, 4u);
    // Its prompt is looked up when pages came free, not at every step that it waits.
    EXPECT_GT(steps, 200);
    EXPECT_LE(world.stats().admission_attempts, 12);
}

TEST(Scheduler, ACancelledTurnFreesItsSlotAtOnceAndKeepsItsKv) {
    SchedulerOptions options = options_with_pages(100);
    options.sequences_max = 1;
    ChatWorld world(options);
    const Outcome& gone = world.submit(session_turn(opening(), 500));
    const TurnId id = world.last_id();
    for (int i = 0; i < 100; ++i) world.scheduler().step();
    EXPECT_EQ(world.stats().running, 1);
    world.scheduler().cancel(id);
    world.scheduler().cancel(12345);  // Unknown: ignored.
    world.scheduler().step();
    EXPECT_EQ(gone.last_events, 1);
    EXPECT_EQ(gone.finish, FinishReason::kCancelled);
    EXPECT_EQ(world.stats().running, 0);
    EXPECT_EQ(world.stats().pages_used, world.stats().pages_cached);
    const Outcome& retry = world.run(session_turn(opening(), 500));
    EXPECT_EQ(retry.usage.cached_tokens, retry.usage.prompt_tokens - 1);
    EXPECT_EQ(retry.text.substr(0, gone.text.size()), gone.text);
}

TEST(Scheduler, CancellingWhileWaitingOrInPrefillEndsTheTurn) {
    SchedulerOptions options = options_with_pages(100);
    options.sequences_max = 1;
    options.chunk_tokens_max = 16;
    ChatWorld world(options);
    const Outcome& first = world.submit(session_turn(opening(), 5));
    const TurnId first_id = world.last_id();
    const Outcome& second = world.submit(session_turn(opening(), 5));
    world.scheduler().step();
    world.scheduler().cancel(world.last_id());
    world.scheduler().step();
    EXPECT_EQ(second.finish, FinishReason::kCancelled);
    EXPECT_EQ(second.usage.prompt_tokens, 0) << "it was never admitted";
    world.scheduler().cancel(first_id);
    world.scheduler().step();
    EXPECT_EQ(first.finish, FinishReason::kCancelled);
    EXPECT_GT(first.usage.prompt_tokens, 0);
    EXPECT_EQ(world.stats().running + world.stats().waiting, 0);
    const Outcome& retry = world.run(session_turn(opening(), 5));
    EXPECT_EQ(retry.usage.cached_tokens, 32);  // Two chunks had been computed.
    EXPECT_EQ(retry.usage.reused_tokens, 32);
}

TEST(Scheduler, ADeadlineEndsWaitingAndRunningTurns) {
    SchedulerOptions options = options_with_pages(100);
    options.sequences_max = 1;
    ChatWorld world(options);
    TurnRequest request = session_turn(opening(), 500);
    request.deadline = world.clock().now() + 10 * kMs;
    const Outcome& running = world.submit(request);
    const Outcome& waiting = world.submit(request);
    world.scheduler().step();
    world.clock().advance(11 * kMs);
    world.run_all();
    for (const Outcome* outcome : {&running, &waiting}) {
        EXPECT_TRUE(outcome->has_failed);
        EXPECT_EQ(outcome->error, ErrorCode::kTimeout);
    }
}

TEST(Scheduler, TokenLimitsAndStops) {
    ChatWorld world(options_with_pages(200));
    TurnRequest plain = session_turn(opening(), 40);
    const Outcome& whole = world.run(plain);
    EXPECT_EQ(whole.finish, FinishReason::kLength);
    ASSERT_EQ(whole.ids.size(), 40u);

    TurnRequest by_string = plain;
    by_string.stop = {whole.text.substr(10, 3)};
    const Outcome& stopped = world.run(by_string);
    EXPECT_EQ(stopped.finish, FinishReason::kStop);
    EXPECT_EQ(stopped.text, whole.text.substr(0, whole.text.find(by_string.stop[0])));

    TurnRequest by_id = plain;
    by_id.stop_token_ids = {whole.ids[5]};
    const Outcome& cut = world.run(by_id);
    const auto at = std::find(whole.ids.begin(), whole.ids.end(), whole.ids[5]);
    EXPECT_EQ(cut.finish, FinishReason::kStop);
    EXPECT_EQ(cut.ids, std::vector<TokenId>(whole.ids.begin(), at));
    by_id.min_tokens = 20;
    EXPECT_GE(world.run(by_id).ids.size(), 20u);

    TurnRequest ends = session_turn(opening(), 40);
    ends.ignore_eos = false;
    ends.sampling.logit_bias.emplace_back(testing::end_of_turn_id(), 100.0f);
    const Outcome& ended = world.run(ends);
    EXPECT_EQ(ended.finish, FinishReason::kStop);
    EXPECT_EQ(ended.text, "");
    EXPECT_EQ(ended.usage.completion_tokens, 1);
    ends.min_tokens = 7;
    const Outcome& later = world.run(ends);
    EXPECT_EQ(later.usage.completion_tokens, 8);
    EXPECT_EQ(later.ids.size(), 7u);
}

TEST(Scheduler, UsageComesWithTheFirstToken) {
    ChatWorld world(options_with_pages(100));
    Messages messages = opening();
    reply_and_ask(messages, world.run(session_turn(messages)), "And then?");
    const Outcome& outcome = world.run(session_turn(messages));
    EXPECT_GT(outcome.first_usage.cached_tokens, 0);
    EXPECT_EQ(outcome.first_usage.cached_tokens, outcome.usage.cached_tokens);
    EXPECT_EQ(outcome.first_usage.prompt_tokens, outcome.usage.prompt_tokens);
}

// Waits for the last events of turns whose sinks run on the scheduler's thread.
class Countdown {
  public:
    explicit Countdown(int count) : count_(count) {}
    void one() {
        const std::lock_guard lock(mutex_);
        if (--count_ == 0) zero_.notify_all();
    }
    void wait() {
        std::unique_lock lock(mutex_);
        zero_.wait(lock, [this] { return count_ == 0; });
    }

  private:
    std::mutex mutex_;
    std::condition_variable zero_;
    int count_;
};

TEST(Scheduler, OwnThreadServesTurnsFromManyThreads) {
    ChatWorld world(options_with_pages(400));
    world.scheduler().start();
    constexpr int kThreads = 4, kTurns = 10;
    Countdown left(kThreads * kTurns);
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < kTurns; ++i) {
                TurnRequest request = session_turn(opening(static_cast<std::uint64_t>(t)), 20);
                request.session = SessionKey{static_cast<std::uint64_t>(t), 9};
                request.sink = [&left](TurnEvent event) {
                    if (event.kind != TurnEvent::Kind::kToken) left.one();
                };
                const auto id = world.scheduler().submit(std::move(request));
                ASSERT_TRUE(id.ok());
                if (i % 3 == 0) world.scheduler().cancel(*id);
                EXPECT_LE(world.scheduler().stats()->pages_used, 400);
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    left.wait();
    world.scheduler().stop();
    const auto after = world.scheduler().submit(session_turn(opening()));
    EXPECT_EQ(after.error().code, ErrorCode::kUnavailable);
}

TEST(Scheduler, StoppingCancelsWhatRunsAndWaits) {
    SchedulerOptions options = options_with_pages(100);
    options.sequences_max = 1;
    Outcome running, waiting;
    {
        ChatWorld world(options);
        ASSERT_TRUE(world.try_submit(session_turn(opening(), 100), running).ok());
        ASSERT_TRUE(world.try_submit(session_turn(opening(), 100), waiting).ok());
        world.scheduler().step();
    }
    for (const Outcome* outcome : {&running, &waiting}) {
        EXPECT_EQ(outcome->last_events, 1);
        EXPECT_EQ(outcome->finish, FinishReason::kCancelled);
    }
}

}  // namespace
}  // namespace hearth
