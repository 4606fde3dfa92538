// The disk tier: what it gives back is what was stored, or nothing; restarts, torn and full files.
#include "cachenode/kv/disk_tier.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "common/base/rng.h"

namespace hearth {
namespace {

using engine::TokenId;
namespace fs = std::filesystem;

constexpr std::size_t kPageBytes = 1024;
constexpr std::int64_t kSlot = 384 + kPageBytes;

// Each look at it takes a while.
class SlowClock final : public Clock {
  public:
    MonotonicNs now() const override { return now_ += per_look; }
    UnixMs unix_now() const override { return now_ / kMs; }
    MonotonicNs per_look = 0;

  private:
    mutable MonotonicNs now_ = kSecond;
};

class DiskTierTest : public ::testing::Test {
  protected:
    void SetUp() override {
        static int count = 0;
        folder_ = fs::path(::testing::TempDir()) /
                  ("hearth-disk-" + std::to_string(getpid()) + "-" + std::to_string(++count));
        fs::remove_all(folder_);
    }
    void TearDown() override {
        disk_.reset();
        fs::remove_all(folder_);
    }

    Result<void> open(std::int64_t pages = 64, bool has_threads = false) {
        return open(pages, has_threads, clock_);
    }
    Result<void> open(std::int64_t pages, bool has_threads, const Clock& clock) {
        disk_.reset();
        DiskTierOptions options;
        options.folder = folder_;
        options.bytes_max = pages * kSlot;
        options.page_bytes = kPageBytes;
        options.fingerprint = 42;
        options.pages_pending_max = 1000;
        options.has_threads = has_threads;
        auto opened = DiskTier::open(options, clock, [] {});
        if (!opened) return opened.error();
        disk_ = std::move(*opened);
        return {};
    }

    static std::vector<TokenId> chat(std::uint64_t seed, std::size_t tokens) {
        Rng rng(seed);
        std::vector<TokenId> out(tokens);
        for (TokenId& id : out) id = static_cast<TokenId>(rng.below(50'000));
        return out;
    }
    static std::byte byte_of(std::span<const TokenId> tokens, std::size_t at) {
        return static_cast<std::byte>((tokens[0] * 31 + static_cast<TokenId>(at)) & 0xff);
    }
    static void fill(std::span<const TokenId> tokens, std::byte* page) {
        for (std::size_t i = 0; i < kPageBytes; ++i) page[i] = byte_of(tokens, i);
    }

    void store(const std::vector<TokenId>& tokens, std::uint32_t owner = 0) {
        const PrefixUse use{.now = 1, .owner = owner};
        PrefixTree::Lease lease = tree_.match("", {}, use);
        const std::span<const TokenId> all(tokens);
        for (std::size_t at = 0; at < tokens.size(); at += 64) {
            const auto ids = all.subspan(at, std::min<std::size_t>(64, tokens.size() - at));
            Page page = pool_.acquire();
            fill(ids, page.data());
            if (ids.size() == 64) {
                tree_.extend(lease, ids, std::move(page), use);
            } else {
                tree_.store_tail(lease, ids, std::move(page), use);
            }
        }
        disk_->write_behind(tree_.peek("", tokens));
    }
    void settle() {
        while (disk_->poll() || disk_->stats().pages_pending > 0) {
        }
    }

    // Loads what the disk has of `tokens`; checks every byte; the tokens that came.
    std::size_t load(const std::vector<TokenId>& tokens) {
        const auto found = disk_->find(tree_.root(""), tokens);
        std::vector<std::vector<std::byte>> pages(found.size(), std::vector<std::byte>(kPageBytes));
        std::vector<std::byte*> into;
        for (auto& page : pages) into.push_back(page.data());
        if (found.empty()) return 0;
        std::size_t came = 0;
        bool is_done = false;
        disk_->load(found, tokens, into, [&](const std::vector<ReadOutcome>& outcomes) {
            is_done = true;
            for (std::size_t i = 0; i < outcomes.size(); ++i) {
                if (outcomes[i] != ReadOutcome::kGood) break;
                const auto ids = std::span(tokens).subspan(found[i].first, found[i].tokens);
                for (std::size_t b = 0; b < kPageBytes; ++b) {
                    ASSERT_EQ(pages[i][b], byte_of(ids, b)) << "a wrong page was served";
                }
                came += found[i].tokens;
            }
        });
        while (!is_done) disk_->poll();
        return came;
    }

    std::vector<fs::path> files() const {
        std::vector<fs::path> out;
        for (const auto& entry : fs::directory_iterator(folder_)) {
            if (entry.path().extension() == ".kvlog") out.push_back(entry.path());
        }
        std::sort(out.begin(), out.end());
        return out;
    }
    static fs::path index_of(const fs::path& segment) { return segment.string() + ".index"; }
    static void flip(const fs::path& path, std::int64_t at) {
        std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
        file.seekg(at);
        const auto byte = static_cast<char>(file.get() ^ 4);
        file.seekp(at);
        file.put(byte);
    }
    std::int64_t bytes_on_disk() const {
        std::int64_t bytes = 0;
        for (const auto& file : files()) {
            bytes += static_cast<std::int64_t>(fs::file_size(file));
            const fs::path index = index_of(file);
            if (fs::exists(index)) bytes += static_cast<std::int64_t>(fs::file_size(index));
        }
        return bytes;
    }

    ManualClock clock_;
    fs::path folder_;
    PagePool pool_{kPageBytes, 2000 * kPageBytes};
    PrefixTree tree_{42, kPageBytes, 100};
    std::unique_ptr<DiskTier> disk_;
};

TEST_F(DiskTierTest, GivesBackWhatWasStored) {
    for (const bool has_threads : {false, true}) {
        ASSERT_TRUE(open(64, has_threads).ok());
        const auto a = chat(has_threads, 200), b = chat(7, 64);
        store(a);
        store(a);  // Known, or on its way: written once.
        store(b);
        settle();
        EXPECT_EQ(disk_->stats().written, 5);
        EXPECT_EQ(load(a), 200u);
        EXPECT_EQ(load(b), 64u);
        EXPECT_EQ(load(chat(99, 200)), 0u);
        auto longer = a;
        longer.push_back(1);
        EXPECT_EQ(load(longer), 200u);
        auto shorter = a;
        shorter.resize(199);
        EXPECT_EQ(load(shorter), 192u) << "a part of a stored tail has no name";
        EXPECT_EQ(disk_->stats().bytes, 5 * kSlot);
        EXPECT_EQ(bytes_on_disk(), 5 * kSlot);
        EXPECT_EQ(tree_.pages_evictable(), tree_.pages()) << "a lease was left";
        disk_.reset();
        fs::remove_all(folder_);
    }
}

TEST_F(DiskTierTest, SurvivesARestart) {
    ASSERT_TRUE(open().ok());
    const auto a = chat(1, 300);
    store(a);
    ASSERT_FALSE(
        DiskTier::open({.folder = folder_, .bytes_max = 64 * kSlot, .page_bytes = kPageBytes},
                       clock_, [] {})
            .ok())
        << "two nodes in one folder";
    ASSERT_TRUE(open().ok());  // Ends the first, which writes what is queued.
    EXPECT_EQ(disk_->stats().pages, 5);
    EXPECT_EQ(load(a), 300u);
    const auto b = chat(2, 100);
    store(b);
    settle();
    ASSERT_TRUE(open().ok());
    EXPECT_EQ(load(a), 300u);
    EXPECT_EQ(load(b), 100u);
    EXPECT_EQ(disk_->stats().bytes, bytes_on_disk());
}

// A file cut at any place, as by a crash in mid-write, costs the record that it cuts.
TEST_F(DiskTierTest, ATornTailCostsOneRecord) {
    const auto a = chat(1, 64 * 6);
    for (const std::int64_t cut : {1, 100, 383, 384, 385, 1000, 1407}) {
        SCOPED_TRACE(cut);
        fs::remove_all(folder_);
        ASSERT_TRUE(open(64).ok());
        store(a);
        settle();
        ASSERT_TRUE(open(64).ok());
        disk_.reset();
        const fs::path last = files().back();
        const auto size = static_cast<std::int64_t>(fs::file_size(last));
        fs::resize_file(last, static_cast<std::uintmax_t>(size - kSlot + cut));
        ASSERT_TRUE(open(64).ok());
        EXPECT_EQ(load(a), 64u * 5);
        EXPECT_EQ(disk_->stats().corrupt, cut >= 384 ? 1 : 0);
        store(a);  // The lost page is written again, behind the torn one.
        settle();
        EXPECT_EQ(load(a), 64u * 6);
    }
}

// Any byte of a record flipped: in the header, the ids, the scales, K or V.
TEST_F(DiskTierTest, AFlippedByteIsNeverServed) {
    ASSERT_TRUE(open(64).ok());
    const auto a = chat(1, 64);
    store(a);
    settle();
    const fs::path path = files().front();
    for (std::int64_t at = 0; at < kSlot; at += at < 384 ? 1 : 37) {
        SCOPED_TRACE(at);
        ASSERT_TRUE(open(64).ok());
        flip(path, at);
        ASSERT_EQ(disk_->stats().pages, 1);
        EXPECT_EQ(load(a), 0u);
        EXPECT_EQ(disk_->stats().corrupt, 1);
        EXPECT_EQ(disk_->stats().pages, 0) << "met a second time";
        // The same before a start: a bad header is not even listed, bad bytes are found on reading.
        ASSERT_TRUE(at < 384 || open(64).ok());
        if (at >= 384) {
            EXPECT_EQ(load(a), 0u);
        }
        flip(path, at);
    }
}

TEST_F(DiskTierTest, KeepsItsBudgetToTheByteAndDropsTheOldest) {
    ASSERT_TRUE(open(32).ok());
    for (std::uint64_t i = 0; i < 100; ++i) {
        store(chat(i, 130));
        settle();
        ASSERT_LE(disk_->stats().bytes, 32 * kSlot);
        ASSERT_EQ(disk_->stats().bytes, bytes_on_disk());
        tree_.evict(1000);
    }
    EXPECT_GT(disk_->stats().evicted, 200);
    EXPECT_EQ(load(chat(0, 130)), 0u);
    EXPECT_EQ(load(chat(99, 130)), 130u);
    ASSERT_TRUE(open(20).ok());  // A smaller budget holds at once.
    EXPECT_LE(bytes_on_disk(), 20 * kSlot);
    EXPECT_EQ(load(chat(99, 130)), 130u);
    EXPECT_FALSE(open(15).ok());
}

// A chat that goes on is written anew before the segment with its first pages is dropped.
TEST_F(DiskTierTest, WhatIsUsedAgainStays) {
    ASSERT_TRUE(open(64).ok());
    const auto kept = chat(1000, 64 * 3);
    for (std::uint64_t i = 0; i < 200; ++i) {
        store(chat(i, 64));
        store(kept);
        settle();
        ASSERT_EQ(load(kept), kept.size()) << i;
        tree_.evict(1000);
    }
}

// Full segments are known from the small files beside them; those are hints, and lose nothing when
// they are bad or gone.
TEST_F(DiskTierTest, AStartReadsTheIndexOfFullSegments) {
    constexpr std::int64_t kPages = 9'000;  // 16 segments of about 560.
    ASSERT_TRUE(open(kPages).ok());
    for (std::uint64_t i = 0; i < 15; ++i) {
        store(chat(i, 64 * 100), i == 0 ? 7 : 8);
        settle();
        tree_.evict(1000);
    }
    disk_.reset();
    ASSERT_EQ(files().size(), 3u);
    const fs::path first = files()[0];
    ASSERT_TRUE(fs::exists(index_of(first)));
    ASSERT_TRUE(fs::exists(index_of(files()[1])));
    EXPECT_FALSE(fs::exists(index_of(files()[2]))) << "it is not full";
    const auto check = [&](std::int64_t pages) {
        ASSERT_TRUE(open(kPages).ok());
        settle();
        EXPECT_EQ(disk_->stats().pages, pages);
        EXPECT_EQ(disk_->stats().bytes, bytes_on_disk());
        for (std::uint64_t i = 1; i < 15; ++i) ASSERT_EQ(load(chat(i, 64 * 100)), 6'400u);
    };
    flip(first, 100);  // The head of the first record: nobody looks at it before it is wanted.
    check(1'500);
    EXPECT_EQ(load(chat(0, 64 * 100)), 0u);
    EXPECT_EQ(disk_->stats().corrupt, 1);
    const auto size = static_cast<std::int64_t>(fs::file_size(index_of(first)));
    for (const std::int64_t at : {0L, 9L, 17L, 33L, 41L, 49L, 1000L, size - 1}) {
        SCOPED_TRACE(at);
        flip(index_of(first), at);
        check(1'499);  // It was scanned; and the index is written anew.
        disk_.reset();
        check(1'499);
    }
    for (const std::int64_t cut : {0L, 7L, 56L, size - 1}) {
        SCOPED_TRACE(cut);
        disk_.reset();
        fs::resize_file(index_of(first), static_cast<std::uintmax_t>(cut));
        check(1'499);
    }
    EXPECT_EQ(disk_->erase(7), 99);
    settle();
    EXPECT_FALSE(fs::exists(index_of(first))) << "it names what was erased";
    check(1'400);
}

TEST_F(DiskTierTest, AFullDiskIsNoFailure) {
    ASSERT_TRUE(open(64).ok());
    const auto a = chat(1, 64 * 3);
    struct rlimit before = {};
    getrlimit(RLIMIT_FSIZE, &before);
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    const struct rlimit small = {kSlot + 500, before.rlim_max};  // Room for a record and a third.
    setrlimit(RLIMIT_FSIZE, &small);
    store(a);
    settle();
    setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, handler);
    EXPECT_GE(disk_->stats().failures, 1);
    EXPECT_LT(load(a), a.size());
    store(chat(2, 64));
    EXPECT_GT(disk_->stats().skipped, 0) << "no pause after a failure";
    clock_.advance(10 * kSecond);
    store(a);
    settle();
    EXPECT_EQ(load(a), a.size()) << "the disk has room again";
    ASSERT_TRUE(open(64).ok());
    EXPECT_EQ(load(a), a.size());
}

TEST_F(DiskTierTest, ShedWritesLetGoOfTheirPins) {
    ASSERT_TRUE(open(64).ok());
    const auto a = chat(1, 64 * 5);
    store(a);
    EXPECT_EQ(disk_->stats().pages_pending, 5);
    EXPECT_EQ(tree_.pages_evictable(), 0);
    EXPECT_EQ(disk_->shed(), 0);
    EXPECT_EQ(disk_->stats().pages_pending, 5) << "they are not late yet";
    EXPECT_TRUE(disk_->has_room());
    clock_.advance(kSecond);
    EXPECT_FALSE(disk_->has_room()) << "late";
    EXPECT_EQ(disk_->shed(), 5);
    EXPECT_TRUE(disk_->has_room());
    EXPECT_EQ(disk_->stats().pages_pending, 0);
    EXPECT_EQ(tree_.pages_evictable(), 5);
    store(a);
    settle();
    EXPECT_EQ(load(a), a.size());
    EXPECT_EQ(disk_->stats().bytes, 5 * kSlot) << "slots of shed writes are used";
}

TEST_F(DiskTierTest, ASlowDiskIsPassedByAndTriedAgain) {
    constexpr double kComputeS = 0.001;  // 1.4 MB/s.
    SlowClock clock;
    ASSERT_TRUE(open(64, false, clock).ok());
    const auto a = chat(1, 64);
    store(a);
    settle();
    EXPECT_TRUE(disk_->is_quicker(1, kComputeS)) << "before any was measured";
    clock.per_look = kSecond;
    EXPECT_EQ(load(a), a.size());
    clock.per_look = 0;
    EXPECT_FALSE(disk_->is_quicker(1, kComputeS));
    int turns = 1;
    while (!disk_->is_quicker(1, kComputeS) && turns < 1000) ++turns;
    EXPECT_GT(turns, 10);
    EXPECT_LT(turns, 100) << "one slow read counts for ever";
    clock.per_look = kMs / 10;
    EXPECT_EQ(load(a), a.size());
    EXPECT_TRUE(disk_->is_quicker(1, kComputeS)) << "it is quick again";
}

TEST_F(DiskTierTest, AnErasedSessionLeavesNoByteBehind) {
    ASSERT_TRUE(open(64).ok());
    const auto a = chat(1, 128), b = chat(2, 64);
    store(a, 7);
    store(b, 8);
    settle();
    EXPECT_EQ(disk_->erase(7), 2);
    settle();
    EXPECT_EQ(load(a), 0u);
    EXPECT_EQ(load(b), 64u);
    ASSERT_TRUE(open(64).ok());
    EXPECT_EQ(load(a), 0u);
    EXPECT_EQ(load(b), 64u);
    std::ifstream file(files().front(), std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), {});
    std::string page(kPageBytes, '\0');
    fill(std::span(a).first(64), reinterpret_cast<std::byte*>(page.data()));
    EXPECT_EQ(bytes.find(page), std::string::npos);
}

TEST_F(DiskTierTest, AnotherModelsRecordsAreNotBelieved) {
    ASSERT_TRUE(open(64).ok());
    store(chat(1, 128));
    settle();
    disk_.reset();
    auto other = DiskTier::open(
        {.folder = folder_, .bytes_max = 64 * kSlot, .page_bytes = kPageBytes, .fingerprint = 43},
        clock_, [] {});
    ASSERT_TRUE(other.ok());
    EXPECT_EQ((*other)->stats().pages, 0);
    EXPECT_EQ(bytes_on_disk(), 0);
}

}  // namespace
}  // namespace hearth
