// What is decided on the host: tiles, parts, buckets, items of attention, slots, copies; and the
// arithmetic of layouts that kernels and host share.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "engine/kernels/cuda/attend_plan.h"
#include "engine/kernels/cuda/gemm_plan.h"
#include "engine/kernels/cuda/graph_buckets.h"
#include "engine/kernels/cuda/hopper_gemm.h"
#include "engine/kernels/cuda/page_slots.h"
#include "tests/engine/kernels/random_model.h"

namespace hearth::engine::cuda {
namespace {

TEST(CudaPlans, ProductsByShapeAndChip) {
    struct Row {
        GemmShape shape;
        int major;
        GemmKind kind;
        std::int32_t tokens, channels, parts;
    };
    const Row rows[] = {
        {{1, 4096, 4096}, 8, GemmKind::kMmaNarrow, 8, 64, 4},
        {{1, 4096, 4096}, 9, GemmKind::kMmaNarrow, 8, 64, 4},
        {{1, 14336, 4096}, 9, GemmKind::kMmaNarrow, 8, 64, 1},
        {{16, 4096, 14336}, 9, GemmKind::kHopperNarrow, 16, 64, 4},
        {{16, 1024, 14336}, 9, GemmKind::kHopperNarrow, 16, 64, 8},
        {{16, 1024, 1024}, 9, GemmKind::kHopperNarrow, 16, 64, 1},
        {{64, 128256, 4096}, 9, GemmKind::kHopperNarrow, 64, 64, 1},
        {{33, 4096, 4096}, 8, GemmKind::kMmaNarrow, 64, 64, 4},
        {{65, 4096, 4096}, 9, GemmKind::kHopperWide, 128, 128, 1},
        {{4096, 4096, 4096}, 9, GemmKind::kHopperWide, 128, 256, 1},
        {{4096, 4096, 4096}, 8, GemmKind::kMmaWide, 128, 128, 1},
        {{4096, 4096, 4096}, 10, GemmKind::kMmaWide, 128, 128, 1},
    };
    for (const Row& row : rows) {
        const GemmPlan plan = plan_gemm(row.shape, row.major, 132);
        SCOPED_TRACE(std::to_string(row.shape.tokens) + " " + std::to_string(row.shape.channels) +
                     " on " + std::to_string(row.major));
        EXPECT_EQ(plan.kind, row.kind);
        EXPECT_EQ(plan.tile_tokens, row.tokens);
        EXPECT_EQ(plan.tile_channels, row.channels);
        EXPECT_EQ(plan.parts, row.parts);
    }
    const GemmPlan cut = plan_gemm({1, 4096, 4096}, 8, 132);
    EXPECT_EQ(partial_ints(cut), 64u * 4 * 8 * 64);
}

TEST(CudaPlans, BucketsHoldWhatTheyAreFor) {
    std::set<std::int32_t> buckets;
    for (std::int32_t rows = 1; rows <= kLargestBucket; ++rows) {
        const std::int32_t bucket = bucket_of(rows);
        EXPECT_GE(bucket, rows);
        EXPECT_EQ(bucket_of(bucket), bucket);
        EXPECT_LE(bucket - rows, std::max(7, rows / 4));
        buckets.insert(bucket);
    }
    EXPECT_EQ(buckets.size(), 23u);
    EXPECT_EQ(item_bucket_of(0), 64);
    EXPECT_EQ(item_bucket_of(64), 64);
    EXPECT_EQ(item_bucket_of(65), 128);
}

// Every vector meets every page that it attends exactly once, in one tile of its own.
TEST(CudaPlans, AttentionCoversWhatRowsAttend) {
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
        Rng rng(seed);
        const auto pick = [&](int low, int high) {
            return low + static_cast<int>(rng.below(static_cast<std::uint64_t>(high - low + 1)));
        };
        AttendShape shape{0, pick(1, 3), rng.below(2) == 0 ? 0 : pick(1, 2000)};
        shape.heads = shape.kv_heads * pick(1, 40);
        const int group = shape.heads / shape.kv_heads;
        std::vector<PlannedRun> runs;
        std::int32_t row = 0, pages_at = 0;
        for (int i = 0; i < 4; ++i) {
            const std::int32_t rows = rng.below(2) == 0 ? 1 : pick(2, 90), start = pick(0, 3000);
            runs.push_back({row, rows, start, pages_at});
            row += rows;
            pages_at += (start + rows) / kPageTokens + 1;
        }
        const AttendPlan plan = plan_attention(runs, shape);
        std::map<std::array<int, 3>, std::set<int>> met;  // Row, head, vector's pages.
        std::set<int> slots;
        for (const auto* items : {&plan.single, &plan.shared}) {
            const int tile = items == &plan.single ? kTileVectors : 4 * kTileVectors;
            for (const AttendItem& item : *items) {
                for (int v = item.vector; v < std::min(item.vector + tile, item.rows * group);
                     ++v) {
                    const int row_of = item.first_row + v / group;
                    for (int page = item.page_begin; page < item.page_end; ++page) {
                        const bool first =
                            met[{row_of, item.kv_head, v % group}].insert(page).second;
                        EXPECT_TRUE(first);
                    }
                    if (item.partial < 0) continue;
                    const int head = item.kv_head * group + v % group;
                    EXPECT_TRUE(slots.insert(item.partial + head * item.segments).second);
                    EXPECT_EQ(item.page_begin / kSegmentPages, (item.page_end - 1) / kSegmentPages);
                }
            }
        }
        EXPECT_EQ(static_cast<int>(slots.size()), plan.partials) << "seed " << seed;
        for (const PlannedRun& run : runs) {
            for (int i = 0; i < run.rows; ++i) {
                const int position = run.start + i;
                const int oldest = shape.window == 0 ? 0 : std::max(0, position - shape.window + 1);
                for (int head = 0; head < shape.kv_heads; ++head)
                    for (int v = 0; v < group; ++v)
                        for (int page = oldest / kPageTokens; page <= position / kPageTokens;
                             ++page)
                            ASSERT_TRUE((met[{run.first_row + i, head, v}].contains(page)))
                                << "seed " << seed;
            }
        }
    }
}

// Against a book of what a device would hold: no page is read that is not there or not restored.
TEST(CudaPlans, SlotsAgainstABook) {
    Rng rng(4);
    std::vector<std::byte> memory(40);
    PageSlots slots(12);
    struct Held {
        std::int32_t slot;
        std::int32_t rows;
        int pass;
    };
    std::map<const std::byte*, Held> book;
    for (int pass = 0; pass < 3000; ++pass) {
        slots.begin_pass();
        std::set<std::int32_t> this_pass;
        const auto count = rng.below(13);
        std::set<const std::byte*> pages;
        while (pages.size() < count) pages.insert(&memory[rng.below(memory.size())]);
        for (const std::byte* page : pages) {
            const auto wanted = static_cast<std::int32_t>(rng.below(65));
            const auto after = wanted + static_cast<std::int32_t>(
                                            rng.below(static_cast<std::uint64_t>(65 - wanted)));
            const auto found = slots.use(page, wanted, after);
            ASSERT_TRUE(found.has_value());
            ASSERT_TRUE(this_pass.insert(found->slot).second);
            for (auto it = book.begin(); it != book.end();) {
                const bool taken = it->second.slot == found->slot && it->first != page;
                if (taken) {
                    EXPECT_LT(it->second.pass, pass);
                }
                it = taken ? book.erase(it) : std::next(it);
            }
            const auto held = book.find(page);
            const bool there = held != book.end() && held->second.slot == found->slot &&
                               held->second.rows >= wanted;
            EXPECT_EQ(found->restore, !there && wanted > 0);
            book[page] = {found->slot, after, pass};
        }
        EXPECT_LE(slots.used(), 12);
        if (rng.below(4) == 0) {
            const std::byte* page = &memory[rng.below(memory.size())];
            slots.forget(page);
            book.erase(page);
        }
    }
    slots.begin_pass();
    for (std::size_t i = 0; i < 12; ++i) ASSERT_TRUE(slots.use(&memory[i], 0, 1));
    EXPECT_FALSE(slots.use(&memory[12], 0, 1));
}

TEST(CudaPlans, TheLongestUnusedSlotsGoFirst) {
    std::vector<std::byte> memory(100);
    PageSlots slots(16);
    for (std::size_t i = 0; i < 16; ++i) {
        slots.begin_pass();
        slots.use(&memory[i], 0, 64);
    }
    slots.begin_pass();
    EXPECT_FALSE(slots.use(&memory[0], 64, 64)->restore);
    for (std::size_t i = 16; i < 20; ++i) {
        slots.begin_pass();
        slots.use(&memory[i], 0, 64);
    }
    slots.begin_pass();
    EXPECT_FALSE(slots.use(&memory[0], 64, 64)->restore);
    EXPECT_FALSE(slots.use(&memory[5], 64, 64)->restore);
    EXPECT_TRUE(slots.use(&memory[1], 64, 64)->restore);
}

TEST(CudaPlans, CopiesCoverBanksInTheOrderOfLayers) {
    for (const KvLayout kv : {KvLayout{3, 8, 128}, KvLayout{2, 1, 64}, KvLayout{4, 1, 4}}) {
        std::vector<std::byte> host(2 * kv.page_bytes()), device(2 * kv.page_bytes());
        const PageCopy pages[] = {{device.data(), host.data()},
                                  {device.data() + kv.page_bytes(), host.data() + kv.page_bytes()}};
        const std::vector<std::int32_t> order = {1, 0};
        const CopyPlan plan = plan_copies(pages, kv, order);
        ASSERT_EQ(plan.offsets.size(), 3u);
        std::vector<int> copied(device.size());
        for (std::size_t i = 0; i < 2; ++i) {
            for (std::size_t p = plan.offsets[i]; p < plan.offsets[i + 1]; ++p) {
                const Piece& piece = plan.pieces[p];
                EXPECT_LE(piece.bytes, kPieceBytes);
                EXPECT_EQ(piece.bytes % 16, 0u);
                EXPECT_EQ(piece.to - device.data(), piece.from - host.data());
                const auto at = static_cast<std::size_t>(piece.to - device.data());
                const std::size_t in_page = at % kv.page_bytes();
                EXPECT_GE(in_page, kv.block(order[i], 0));
                for (std::size_t b = 0; b < piece.bytes; ++b) ++copied[at + b];
            }
        }
        const std::size_t bank = kv.head_bytes() * static_cast<std::size_t>(kv.kv_heads);
        for (std::size_t b = 0; b < copied.size(); ++b)
            ASSERT_EQ(copied[b], b % kv.page_bytes() < 2 * bank ? 1 : 0) << b;
        if (bank >= kPieceBytes) {
            EXPECT_GE(plan.pieces.front().bytes, 8192u);
        }
    }
}

TEST(CudaPlans, BanksLieWhereTheLayoutSays) {
    const KvLayout kv{5, 3, 20};
    for (std::int32_t bank = 0; bank < 5; ++bank) {
        const BankView view = BankView::of(kv, bank);
        for (std::int32_t head = 0; head < 3; ++head) {
            EXPECT_EQ(static_cast<std::size_t>(view.k_at(head)), kv.k_offset(bank, head));
            EXPECT_EQ(static_cast<std::size_t>(view.v_at(head)), kv.v_offset(bank, head));
            EXPECT_EQ(static_cast<std::size_t>(view.k_scale_at(head)),
                      kv.k_scale_offset(bank, head));
            EXPECT_EQ(static_cast<std::size_t>(view.v_scale_at(head)),
                      kv.v_scale_offset(bank, head));
        }
    }
}

TEST(CudaPlans, FragmentsCoverTheirTilesOnce) {
    std::set<std::pair<int, int>> a, b, c, d;
    for (int lane = 0; lane < kWarp; ++lane) {
        for (int i = 0; i < 16; ++i) {
            const Place at = a_place(lane, i / 4, i % 4);
            a.insert({at.row, at.column});
        }
        for (int i = 0; i < 8; ++i) {
            const Place at = b_place(lane, i / 4, i % 4);
            b.insert({at.row, at.column});
        }
        for (int i = 0; i < 4; ++i) c.insert({c_place(lane, i).row, c_place(lane, i).column});
    }
    for (int t = 0; t < 128; ++t)
        for (int i = 0; i < 32; ++i) d.insert({wgmma_place(t, i).row, wgmma_place(t, i).column});
    EXPECT_EQ(a.size(), 16u * 32);
    EXPECT_EQ(b.size(), 32u * 8);
    EXPECT_EQ(c.size(), 16u * 8);
    EXPECT_EQ(d.size(), 64u * 64);
    std::set<int> bytes;
    for (int row = 0; row < 64; ++row) {
        for (int byte = 0; byte < kTileRowBytes; ++byte) bytes.insert(swizzled(row, byte));
        // The eight pieces of one column of eight rows lie in different banks.
        std::set<int> banks;
        for (int i = 0; i < 8; ++i) banks.insert(swizzled(row / 8 * 8 + i, 48) % 128);
        EXPECT_EQ(banks.size(), 8u);
    }
    EXPECT_EQ(bytes.size(), 64u * kTileRowBytes);
}

TEST(CudaPlans, TilesAreTakenOnce) {
    for (const auto& [m, n] : {std::pair{1, 1}, {8, 5}, {9, 3}, {31, 7}, {16, 16}}) {
        std::set<std::pair<int, int>> seen;
        for (int i = 0; i < m * n; ++i) {
            const TileAt at = tile_at(i, m, n);
            EXPECT_TRUE(at.m >= 0 && at.m < m && at.n >= 0 && at.n < n);
            seen.insert({at.m, at.n});
        }
        EXPECT_EQ(static_cast<int>(seen.size()), m * n);
    }
}

TEST(CudaPlans, HalvesRoundToEven) {
    for (int i = -127; i <= 127; ++i)
        EXPECT_EQ(from_half_bits(half_bits(static_cast<float>(i))), static_cast<float>(i));
    EXPECT_EQ(from_half_bits(half_bits(1.0f + 1.0f / 2048)), 1.0f);
    EXPECT_EQ(from_half_bits(half_bits(1.0f + 3.0f / 2048)), 1.0f + 2.0f / 1024);
    EXPECT_EQ(from_half_bits(half_bits(1e-6f)), 17.0f / 16777216.0f);
    EXPECT_EQ(from_half_bits(half_bits(1e-9f)), 0.0f);
}

}  // namespace
}  // namespace hearth::engine::cuda
