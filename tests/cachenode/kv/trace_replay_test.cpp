// A recorded hour of a real chat product, replayed through pool, tree and eviction: with the bonus
// for follow-ups no capacity may hit less than plain leaf-LRU does.
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <unordered_map>
#include <vector>

#include "cachenode/kv/device_tier.h"

namespace hearth {
namespace {

constexpr std::int64_t kBlock = 512;  // The trace's; each is one page here.
constexpr std::size_t kPageBytes = 64;
// A prompt this short is the common system prompt and little more: nobody goes on with it.
constexpr std::int64_t kOwnBlocksMin = 3;

struct Request {
    MonotonicNs at = 0;
    std::int64_t input = 0, output = 0;
    std::vector<std::int32_t> blocks;  // Chained: equal ids have equal prefixes.
    std::int64_t full() const { return input / kBlock; }
    std::int32_t next_turn = -1;  // The first request that goes on with this one.
    bool follow_up = false;
};

std::int64_t number_after(const std::string& line, const std::string& field) {
    const std::size_t at = line.find("\"" + field + "\":");
    EXPECT_NE(at, std::string::npos) << line;
    return std::stoll(line.substr(at + field.size() + 3));
}

std::vector<Request> read_trace(std::ifstream& file) {
    std::vector<Request> trace;
    for (std::string line; std::getline(file, line);) {
        Request r;
        r.at = (1 + number_after(line, "timestamp")) * kMs;
        r.input = number_after(line, "input_length");
        r.output = number_after(line, "output_length");
        std::size_t at = line.find('[');
        while (at != std::string::npos && line[at] != ']') {
            std::size_t read = 0;
            r.blocks.push_back(std::stoi(line.substr(at + 1, 12), &read));
            at = line.find_first_of(",]", at + 1);
        }
        trace.push_back(std::move(r));
    }
    // The trace names no sessions: a request goes on with an earlier one when all full blocks of
    // that one are a prefix of its own.
    std::unordered_map<std::int32_t, std::size_t> last_block;
    for (std::size_t i = 0; i < trace.size(); ++i) {
        Request& r = trace[i];
        for (std::int64_t b = r.full(); b > 0 && !r.follow_up; --b) {
            const auto earlier = last_block.find(r.blocks[static_cast<std::size_t>(b - 1)]);
            if (earlier == last_block.end()) continue;
            r.follow_up = true;
            std::int32_t& next = trace[earlier->second].next_turn;
            if (next < 0) next = static_cast<std::int32_t>(i);
        }
        if (r.full() >= kOwnBlocksMin)
            last_block[r.blocks[static_cast<std::size_t>(r.full() - 1)]] = i;
    }
    return trace;
}

struct HitRates {
    double overall = 0, follow_up = 0;
};

class Replay {
  public:
    Replay(std::int64_t tokens, MonotonicNs bonus)
        : tier_(kPageBytes, tokens / kBlock * static_cast<std::int64_t>(kPageBytes), 1),
          bonus_(bonus) {}

    HitRates run(const std::vector<Request>& trace) {
        double tokens[2] = {}, hits[2] = {};
        for (const Request& r : trace) {
            const double hit = static_cast<double>(take(r, r, r.full()) * kBlock);
            for (const int kind : {0, 1}) {
                if (kind == 1 && !r.follow_up) continue;
                tokens[kind] += static_cast<double>(r.input);
                hits[kind] += hit;
            }
            // The reply's KV is kept as far as the next turn shows what it was.
            if (r.next_turn < 0) continue;
            const Request& next = trace[static_cast<std::size_t>(r.next_turn)];
            take(r, next, std::min(next.full(), (r.input + r.output) / kBlock));
        }
        return {hits[0] / tokens[0], hits[1] / tokens[1]};
    }

  private:
    // Serves the first `blocks` of `path` at the time of `r`; how many of them were cached.
    std::int64_t take(const Request& r, const Request& path, std::int64_t blocks) {
        std::vector<engine::TokenId> ids;
        for (std::int64_t b = 0; b < blocks; ++b) {
            const std::int32_t block = path.blocks[static_cast<std::size_t>(b)];
            for (int i = 0; i < engine::kPageTokens; ++i) ids.push_back(block);
        }
        const PrefixUse use{.now = r.at, .follow_up = r.follow_up, .follow_up_bonus = bonus_};
        PrefixTree::Lease lease = tier_.tree().match("", ids, use);
        lease.drop_tail();
        const std::int64_t hit = std::ssize(lease.pages());
        const std::span<const engine::TokenId> all(ids);
        for (auto b = static_cast<std::size_t>(hit); b < static_cast<std::size_t>(blocks); ++b) {
            if (!tier_.promise(1)) break;
            tier_.tree().extend(lease, all.subspan(b * engine::kPageTokens, engine::kPageTokens),
                                tier_.acquire(), use);
        }
        return hit;
    }

    DeviceTier tier_;
    MonotonicNs bonus_;
};

struct Capacity {
    std::int64_t tokens;
    HitRates leaf_lru;  // Measured over this file by another program.
};

class TraceReplay : public ::testing::TestWithParam<Capacity> {};

TEST_P(TraceReplay, IsNeverBelowLeafLru) {
    std::ifstream file(HEARTH_SOURCE_DIR "/../shared/data/traces/mooncake_conversation.jsonl");
    if (!file) GTEST_SKIP() << "the trace mooncake_conversation.jsonl is not here";
    const std::vector<Request> trace = read_trace(file);
    ASSERT_EQ(trace.size(), 12'031u);
    const Capacity& capacity = GetParam();
    const HitRates lru = Replay(capacity.tokens, 0).run(trace);
    const HitRates ours = Replay(capacity.tokens, kFollowUpBonus).run(trace);
    std::printf("%8lld tokens: leaf-LRU %.4f / %.4f, with the bonus %.4f / %.4f\n",
                static_cast<long long>(capacity.tokens), lru.overall, lru.follow_up, ours.overall,
                ours.follow_up);
    constexpr double kRounded = 0.0005;  // The table has three digits.
    // Sessions are inferred, there a little differently.
    EXPECT_NEAR(lru.overall, capacity.leaf_lru.overall, 0.006) << "another trace, or another LRU";
    EXPECT_NEAR(lru.follow_up, capacity.leaf_lru.follow_up, 0.03);
    EXPECT_GE(ours.overall, capacity.leaf_lru.overall - kRounded);
    EXPECT_GE(ours.follow_up, capacity.leaf_lru.follow_up - kRounded);
    EXPECT_GE(ours.overall, lru.overall - kRounded);
    EXPECT_GE(ours.follow_up, lru.follow_up - kRounded);
}

INSTANTIATE_TEST_SUITE_P(
    Capacities, TraceReplay,
    ::testing::Values(Capacity{500'000, {0.045, 0.044}}, Capacity{1'000'000, {0.054, 0.065}},
                      Capacity{2'000'000, {0.087, 0.137}}, Capacity{4'000'000, {0.182, 0.372}},
                      Capacity{8'000'000, {0.273, 0.600}}, Capacity{16'000'000, {0.345, 0.783}},
                      Capacity{32'000'000, {0.375, 0.860}}),
    [](const auto& named) { return std::to_string(named.param.tokens / 1000) + "k"; });

}  // namespace
}  // namespace hearth
