// ResponseStore: found by its tenant alone, and bounded by count and bytes.
#include "cachenode/api/response_store.h"

#include <gtest/gtest.h>
#include <array>

#include "cachenode/api/kept_codec.h"
#include "common/wire/response_id.h"

namespace hearth {
namespace {

KeptResponse of(std::size_t bytes) {
    KeptResponse out;
    out.dialogue.messages.push_back({engine::Role::kUser, std::string(bytes, 'x')});
    return out;
}

TEST(ResponseStore, FindsByTenantAndId) {
    ResponseStore store({16, 1 << 20});
    store.keep("a", "r1", of(3));
    ASSERT_NE(store.find("a", "r1"), nullptr);
    EXPECT_EQ(store.find("a", "r1")->dialogue.messages[0].content, "xxx");
    EXPECT_EQ(store.find("b", "r1"), nullptr);
    EXPECT_EQ(store.find("a", "r2"), nullptr);
}

TEST(ResponseStore, ATenantHasAQuarter) {
    ResponseStore store({16, 1 << 20});
    for (int i = 0; i < 6; ++i) {
        store.keep("a", "r" + std::to_string(i), of(1));
        EXPECT_NE(store.find("a", "r0"), nullptr);  // It stays by being used.
    }
    EXPECT_EQ(store.count(), 4u);
    EXPECT_EQ(store.find("a", "r1"), nullptr);
    EXPECT_EQ(store.find("a", "r2"), nullptr);
    store.keep("b", "r1", of(1));
    EXPECT_EQ(store.count(), 5u);
    store.keep("a", "big", of(200'000));
    store.keep("a", "big2", of(200'000));
    EXPECT_EQ(store.find("a", "big"), nullptr);
    EXPECT_NE(store.find("a", "big2"), nullptr);
    store.keep("a", "huge", of(300'000));  // More than a tenant may have.
    EXPECT_EQ(store.find("a", "huge"), nullptr);
    EXPECT_NE(store.find("b", "r1"), nullptr);
}

TEST(ResponseStore, ErasesASession) {
    ResponseStore store({16, 1 << 20});
    const SessionKey one{1, 1}, other{1, 2};
    store.keep("a", response_id(one, 1), of(1));
    store.keep("b", response_id(one, 2), of(1));
    store.keep("a", response_id(other, 3), of(1));
    store.erase(one);
    EXPECT_EQ(store.count(), 1u);
    EXPECT_EQ(store.find("a", response_id(one, 1)), nullptr);
    EXPECT_NE(store.find("a", response_id(other, 3)), nullptr);
    store.erase(other);
    EXPECT_EQ(store.bytes(), 0u);
}

TEST(ResponseStore, TheWholeIsBounded) {
    ResponseStore store({8, 1 << 20});
    for (int i = 0; i < 20; ++i) {
        store.keep("t" + std::to_string(i), "r", of(1));
        EXPECT_LE(store.count(), 8u);
    }
    EXPECT_EQ(store.find("t11", "r"), nullptr);
    EXPECT_NE(store.find("t12", "r"), nullptr);
    ResponseStore small({1'000, 100'000});
    for (int i = 0; i < 40; ++i) {
        small.keep("t" + std::to_string(i), "r", of(20'000));
        EXPECT_LE(small.bytes(), 100'000u);
    }
    EXPECT_EQ(small.count(), 4u);
    ResponseStore none({0, 1 << 20});
    none.keep("a", "r", of(1));
    EXPECT_EQ(none.count(), 0u);
}

TEST(ResponseStore, ForgetsOneAndReplacesOne) {
    ResponseStore store({16, 1 << 20});
    store.keep("a", "r1", of(3));
    const std::size_t bytes = store.bytes();
    store.keep("a", "r1", of(3));
    EXPECT_EQ(store.count(), 1u);
    EXPECT_EQ(store.bytes(), bytes);
    EXPECT_FALSE(store.erase("b", "r1"));
    EXPECT_TRUE(store.erase("a", "r1"));
    EXPECT_FALSE(store.erase("a", "r1"));
    EXPECT_EQ(store.bytes(), 0u);
}

TEST(ResponseStore, GivesASessionsInOrderAndInBatches) {
    ResponseStore store({1'000, 256 << 20});
    const SessionKey one{1, 1}, before{1, 0}, behind{1, 2};
    for (const SessionKey& key : {before, one, behind})
        for (const std::uint64_t n : {9, 4, 7}) store.keep("a", response_id(key, n), of(n));
    store.keep("b", response_id(one, 5), of(5));
    const ResponseStore::Batch all = store.newer("a", one, 0);
    ASSERT_EQ(all.responses.size(), 3u);
    for (std::size_t i = 0; i < 3; ++i) {
        const std::uint64_t n = std::array{9, 4, 7}[i];
        EXPECT_EQ(all.responses[i].first, response_id(one, n));
        EXPECT_EQ(all.responses[i].second->dialogue.messages[0].content.size(), n);
    }
    EXPECT_TRUE(store.newer("a", one, all.last).responses.empty());
    EXPECT_TRUE(store.newer("c", one, 0).responses.empty());
    constexpr std::size_t kMost = ResponseStore::kBatchBytes;
    store.keep("a", response_id(one, 1), of(kMost * 3 / 4));
    store.keep("a", response_id(one, 2), of(kMost));  // Too large to travel.
    store.keep("a", response_id(one, 3), of(kMost / 2));
    store.keep("a", response_id(one, 4), of(kMost / 4));
    const ResponseStore::Batch next = store.newer("a", one, all.last);
    ASSERT_EQ(next.responses.size(), 1u);
    EXPECT_EQ(next.responses[0].first, response_id(one, 1));
    const ResponseStore::Batch rest = store.newer("a", one, next.last);
    ASSERT_EQ(rest.responses.size(), 2u);
    EXPECT_EQ(rest.responses[1].first, response_id(one, 4));
    EXPECT_TRUE(store.newer("a", one, rest.last).responses.empty());
    const std::vector<std::pair<SessionKey, std::string>> sessions = {
        {before, "a"}, {one, "a"}, {behind, "a"}, {one, "b"}};
    EXPECT_EQ(store.sessions(), sessions);
}

TEST(ResponseStore, TravelsAsText) {
    ResponseStore from({16, 1 << 20}), to({16, 1 << 20});
    const SessionKey one{1, 1};
    KeptResponse kept;
    kept.answer = "{\"id\":\"x\"}";
    engine::ChatMessage reply{engine::Role::kAssistant, "\xc3\xa9 \"quoted\"\n"};
    reply.calls.push_back({"lamp", "{ \"on\" :true}"});
    kept.dialogue.messages = {{engine::Role::kSystem, "s"},
                              {engine::Role::kUser, "u"},
                              reply,
                              {engine::Role::kTool, "t"}};
    kept.dialogue.call_ids = {"call_1"};
    const std::string id = response_id(one, 3);
    from.keep("a", id, kept);
    const std::string text = kept_text(from.newer("a", one, 0));
    EXPECT_FALSE(keep_text(text, SessionKey{1, 2}, "a", to));  // Of another session.
    EXPECT_EQ(to.count(), 0u);
    ASSERT_TRUE(keep_text(text, one, "z", to));
    const KeptResponse* found = to.find("z", id);
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(found->answer, kept.answer);
    EXPECT_EQ(found->dialogue.call_ids, kept.dialogue.call_ids);
    ASSERT_EQ(found->dialogue.messages.size(), 4u);
    for (std::size_t i = 0; i < 4; ++i) {
        const engine::ChatMessage& got = found->dialogue.messages[i];
        EXPECT_EQ(got.role, kept.dialogue.messages[i].role);
        EXPECT_EQ(got.content, kept.dialogue.messages[i].content);
    }
    ASSERT_EQ(found->dialogue.messages[2].calls.size(), 1u);
    EXPECT_EQ(found->dialogue.messages[2].calls[0].arguments, "{ \"on\" :true}");
    EXPECT_EQ(kept_text(to.newer("z", one, 0)), text);
    // Any other text is refused, whatever was cut off or changed.
    for (std::size_t size = 0; size < text.size(); ++size)
        EXPECT_FALSE(keep_text(text.substr(0, size), one, "y", to)) << size;
    for (const char* bad : {"[]", "{}", R"({"responses":[1]})", R"({"responses":[{"id":"r"}]})"})
        EXPECT_FALSE(keep_text(bad, one, "y", to)) << bad;
    EXPECT_EQ(to.count(), 1u);
    EXPECT_EQ(kept_text({}), "");
}

}  // namespace
}  // namespace hearth
