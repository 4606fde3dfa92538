// ResponseStore: found by its tenant alone, and bounded by count and bytes.
#include "cachenode/api/response_store.h"

#include <gtest/gtest.h>

#include "common/wire/response_id.h"

namespace hearth {
namespace {

Dialogue of(std::size_t bytes) {
    Dialogue out;
    out.messages.push_back({engine::Role::kUser, std::string(bytes, 'x')});
    return out;
}

TEST(ResponseStore, FindsByTenantAndId) {
    ResponseStore store({16, 1 << 20});
    store.keep("a", "r1", of(3));
    ASSERT_NE(store.find("a", "r1"), nullptr);
    EXPECT_EQ(store.find("a", "r1")->messages[0].content, "xxx");
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

}  // namespace
}  // namespace hearth
