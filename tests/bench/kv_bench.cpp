// kv_bench: what the KV index costs per turn: matching a prompt, storing a page, planning
// evictions. Beside each stands a bound: reading the same token ids, or page bytes, once.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <vector>

#include "cachenode/kv/device_tier.h"
#include "cachenode/kv/page_checksum.h"
#include "common/base/clock.h"
#include "common/base/rng.h"
#include "engine/model/kv_layout.h"

namespace hearth {
namespace {

using engine::TokenId;

constexpr std::size_t kPageBytes = 783'360;  // SmolLM2-135M's: what a copy is measured with.
constexpr std::size_t kIndexPageBytes = 64;  // For the index alone: all of it fits into memory.
constexpr std::int64_t kPages = 1'000'000;
constexpr std::int64_t kChatPages = 128;  // 8,192 tokens.

template <typename Work>
double best_us(int rounds, const Work& work) {
    const Clock& clock = SystemClock::instance();
    double best = std::numeric_limits<double>::infinity();
    for (int i = 0; i < rounds; ++i) {
        const MonotonicNs start = clock.now();
        work();
        best = std::min(best, seconds(clock.now() - start) * 1e6);
    }
    return best;
}

std::vector<TokenId> chat_tokens(std::uint64_t chat) {
    Rng rng(chat);
    std::vector<TokenId> tokens(static_cast<std::size_t>(kChatPages * engine::kPageTokens));
    for (TokenId& id : tokens) id = static_cast<TokenId>(rng.below(49'152));
    return tokens;
}

void store(DeviceTier& tier, std::span<const TokenId> tokens) {
    PrefixTree::Lease lease = tier.tree().match("", {}, {});
    for (; !tokens.empty(); tokens = tokens.subspan(engine::kPageTokens)) {
        if (!tier.promise(1)) return;
        tier.tree().extend(lease, tokens.first(engine::kPageTokens), tier.acquire(), {});
    }
}

void run() {
    DeviceTier tier(kIndexPageBytes, kPages * static_cast<std::int64_t>(kIndexPageBytes), 1,
                    {.verify = false});
    constexpr std::int64_t kChats = kPages / kChatPages;
    std::vector<std::vector<TokenId>> chats;
    for (std::int64_t i = 0; i < kChats; ++i)
        chats.push_back(chat_tokens(static_cast<std::uint64_t>(i)));
    const double fill_us = best_us(1, [&] {
        for (const auto& chat : chats) store(tier, chat);
    });
    std::printf("store        %8.2f us per page (%lld pages)\n",
                fill_us / static_cast<double>(tier.tree().pages()),
                static_cast<long long>(tier.tree().pages()));

    std::size_t next = 0;
    const double match_us = best_us(500, [&] {
        const auto& chat = chats[(next += 37) % chats.size()];
        PrefixTree::Lease lease = tier.tree().match("", chat, {});
        if (lease.tokens() != std::ssize(chat)) std::abort();
    });
    std::int64_t sum = 0;
    const double read_us = best_us(500, [&] {
        for (const TokenId id : chats[(next += 37) % chats.size()]) sum += id;
    });
    std::printf("match        %8.2f us for 8,192 tokens; reading the ids once: %.2f us (%lld)\n",
                match_us, read_us, static_cast<long long>(sum % 10));

    std::printf(
        "index        %8.1f bytes a page, without token ids\n",
        static_cast<double>(tier.tree().index_bytes()) / static_cast<double>(tier.tree().pages()));
    // A turn's end: a page of reply behind a cached chat, stored under a lease.
    const double commit_us = best_us(200, [&] {
        const auto& chat = chats[(next += 37) % chats.size()];
        const std::span<const TokenId> all(chat);
        PrefixTree::Lease lease = tier.tree().match("", all.first(chat.size() - 64), {});
        lease.drop_tail();
        if (!tier.promise(1)) std::abort();
        tier.tree().extend(lease, all.last(64), tier.acquire(), {});
    });
    std::printf("commit       %8.2f us: match, store one page, release\n", commit_us);
    const double evict_us = best_us(20, [&] { tier.tree().evict(1000); });
    std::printf("evict        %8.2f us for 1,000 pages: plan and act\n", evict_us);

    PagePool pool(kPageBytes, 2 * static_cast<std::int64_t>(kPageBytes));
    const Page from = pool.acquire(), into = pool.acquire();
    std::memset(from.data(), 1, kPageBytes);
    const double copy_us = best_us(50, [&] { std::memcpy(into.data(), from.data(), kPageBytes); });
    const double sum_us =
        best_us(50, [&] { sum += page_checksum(from.data(), kPageBytes) != 0 ? 1 : 0; });
    std::printf("checksum     %8.2f us a page, %.1f GB/s (%lld)\n", sum_us,
                static_cast<double>(kPageBytes) / sum_us * 1e-3, static_cast<long long>(sum % 10));
    std::printf("copy a page  %8.2f us, %.1f GB/s\n", copy_us,
                static_cast<double>(kPageBytes) / copy_us * 1e-3);
}

}  // namespace
}  // namespace hearth

int main(int argc, char**) {
    if (argc > 1) {
        std::fprintf(stderr, "usage: hearth bench kv\n");
        return 2;
    }
    hearth::run();
}
