// Frames between nodes: what goes in comes out, and whatever was changed on the way is never seen.
#include "cachenode/transfer/frame.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "cachenode/kv/page_checksum.h"

namespace hearth {
namespace {

constexpr std::size_t kPageBytes = 512;

struct Page {
    std::vector<engine::TokenId> tokens;
    std::vector<std::byte> bytes;
    CachedPage cached;
};

Page page_of(const PageHash& before, std::size_t tokens, std::uint32_t seed) {
    std::mt19937 random(seed);
    Page out;
    for (std::size_t i = 0; i < tokens; ++i)
        out.tokens.push_back(static_cast<engine::TokenId>(random() % 50'000));
    for (std::size_t i = 0; i < kPageBytes; ++i) out.bytes.push_back(std::byte(random() & 0xff));
    out.cached = {chain_hash(before, out.tokens), before, {}, 0, nullptr};
    out.cached.checksum = page_checksum(out.bytes.data(), kPageBytes);
    return out;
}

std::string text_of(const Page& page) {
    CachedPage cached = page.cached;
    cached.tokens = page.tokens;
    return page_frame_head(cached) +
           std::string(reinterpret_cast<const char*>(page.bytes.data()), page.bytes.size());
}

WireSession session_of() {
    WireSession out;
    out.key = {17, 0xffff'ffff'ffff'ffff};
    out.salt = "5a17";
    for (int i = 0; i < 100; ++i) out.tokens.push_back(i * 7);
    out.stored = 99;
    out.unstored = MissReason::kDiverged;
    out.turn = 3;
    out.epoch = 5;
    out.age_ms = 1'234;
    out.first_page = 1;
    return out;
}

class FrameTest : public ::testing::Test {
  protected:
    PageHash root = root_hash(1, "5a17");
    Page first = page_of(root, 64, 1);
    Page second = page_of(first.cached.hash, 17, 2);
    std::string stream =
        session_frame(session_of()) + text_of(first) + text_of(second) + end_frame(2);
};

TEST_F(FrameTest, WhatGoesInComesOutHoweverItIsCut) {
    for (const std::size_t piece :
         {std::size_t{1}, std::size_t{7}, std::size_t{64}, stream.size()}) {
        FrameReader reader(kPageBytes);
        std::vector<WirePage> pages;
        for (std::size_t at = 0; at < stream.size(); at += piece) {
            ASSERT_TRUE(reader.feed(std::string_view(stream).substr(at, piece)));
            for (WirePage& page : reader.take_pages()) pages.push_back(std::move(page));
        }
        ASSERT_TRUE(reader.at_end());
        ASSERT_EQ(reader.sessions().size(), 1u);
        const WireSession& session = reader.sessions().front();
        const WireSession wanted = session_of();
        EXPECT_EQ(session.key, wanted.key);
        EXPECT_EQ(session.salt, wanted.salt);
        EXPECT_EQ(session.tokens, wanted.tokens);
        EXPECT_EQ(session.stored, wanted.stored);
        EXPECT_EQ(session.unstored, wanted.unstored);
        EXPECT_EQ(session.turn, wanted.turn);
        EXPECT_EQ(session.epoch, wanted.epoch);
        EXPECT_EQ(session.age_ms, wanted.age_ms);
        EXPECT_EQ(session.first_page, wanted.first_page);
        ASSERT_EQ(pages.size(), 2u);
        EXPECT_EQ(pages[0].tokens, first.tokens);
        EXPECT_EQ(pages[1].tokens, second.tokens);
        EXPECT_EQ(pages[1].before, pages[0].hash);
        EXPECT_EQ(std::memcmp(pages[1].bytes.get(), second.bytes.data(), kPageBytes), 0);
    }
}

// Every byte of the stream, whatever it stands for: the page or session that it belongs to is not
// seen, and the stream ends in an error or is never whole.
TEST_F(FrameTest, NoChangedByteIsAccepted) {
    const std::string session_alone = session_frame(session_of());
    const std::size_t first_end = session_alone.size() + text_of(first).size();
    for (std::size_t at = 0; at < stream.size(); ++at) {
        for (const int bit : {0, 7}) {
            std::string changed = stream;
            changed[at] = static_cast<char>(changed[at] ^ (1 << bit));
            FrameReader reader(kPageBytes);
            const Result<void> fed = reader.feed(changed);
            ASSERT_FALSE(fed && reader.at_end()) << "byte " << at;
            const std::size_t pages = reader.take_pages().size();
            ASSERT_LE(pages, at < first_end ? 0u : at < stream.size() - 64 ? 1u : 2u) << at;
            if (at < session_alone.size()) {
                ASSERT_TRUE(reader.sessions().empty()) << at;
            }
        }
    }
}

TEST_F(FrameTest, AStreamThatIsCutOffNeverEnds) {
    for (std::size_t size = 0; size < stream.size(); ++size) {
        FrameReader reader(kPageBytes);
        ASSERT_TRUE(reader.feed(std::string_view(stream).substr(0, size)));
        ASSERT_FALSE(reader.at_end());
    }
    FrameReader reader(kPageBytes);
    ASSERT_FALSE(reader.feed(stream + "x"));
}

TEST_F(FrameTest, MissingPagesAndStrangeSessionsAreRefused) {
    FrameReader fewer(kPageBytes);
    EXPECT_FALSE(fewer.feed(session_frame(session_of()) + text_of(first) + end_frame(2)));
    FrameReader twice(kPageBytes);
    EXPECT_FALSE(twice.feed(session_frame(session_of()) + session_frame(session_of())));
    for (const auto& spoil : std::vector<void (*)(WireSession&)>{
             [](WireSession& s) { s.stored = 101; }, [](WireSession& s) { s.stored = -1; },
             [](WireSession& s) { s.first_page = 2; }, [](WireSession& s) { s.epoch = -1; },
             [](WireSession& s) { s.salt.assign(65, 'a'); },
             [](WireSession& s) { s.first_page = std::int64_t{1} << 62; }}) {
        WireSession session = session_of();
        spoil(session);
        FrameReader reader(kPageBytes);
        EXPECT_FALSE(reader.feed(session_frame(session)));
        EXPECT_FALSE(reader.at_end());
    }
}

TEST_F(FrameTest, APageUnderAnothersNameIsRefused) {
    Page lying = first;
    lying.cached.hash.low ^= 1;  // With a head whose own checksum is right.
    FrameReader reader(kPageBytes);
    EXPECT_FALSE(reader.feed(text_of(lying)));
    EXPECT_TRUE(reader.take_pages().empty());
}

TEST(WireFormat, DiffersByModelAndPageSize) {
    EXPECT_EQ(wire_format(1, 64), wire_format(1, 64));
    EXPECT_NE(wire_format(1, 64), wire_format(2, 64));
    EXPECT_NE(wire_format(1, 64), wire_format(1, 128));
}

}  // namespace
}  // namespace hearth
