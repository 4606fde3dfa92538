// disk_index_bench: how long a start takes to know what a disk tier of small pages holds, from the
// index files beside its segments and from the segments themselves.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "cachenode/kv/device_tier.h"
#include "cachenode/kv/disk_tier.h"
#include "common/base/clock.h"
#include "common/base/rng.h"

namespace hearth {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kPageBytes = 1'024;
constexpr std::int64_t kBatch = 4'096;  // Pages in memory at once.

std::unique_ptr<DiskTier> open(const DiskTierOptions& options, double& took_s) {
    const Clock& clock = SystemClock::instance();
    const MonotonicNs begin = clock.now();
    auto opened = DiskTier::open(options, clock, [] {});
    took_s = seconds(clock.now() - begin);
    if (opened) return std::move(*opened);
    std::fprintf(stderr, "%s\n", opened.error().message.c_str());
    std::exit(1);
}

void fill(DiskTier& disk, std::int64_t pages) {
    DeviceTier tier(kPageBytes, 2 * kBatch * static_cast<std::int64_t>(kPageBytes), 1,
                    {.verify = false});
    Rng rng(1);
    std::vector<engine::TokenId> ids(engine::kPageTokens);
    for (std::int64_t done = 0; done < pages; done += kBatch) {
        PrefixTree::Lease lease = tier.tree().match("", {}, {});
        for (std::int64_t i = 0; i < kBatch; ++i) {
            for (auto& id : ids) id = static_cast<engine::TokenId>(rng.below(49'152));
            if (!tier.promise(1)) std::abort();
            tier.tree().extend(lease, ids, tier.acquire(), {});
        }
        disk.write_behind(std::move(lease));
        while (disk.stats().pages_pending > 0) disk.poll();
        tier.tree().evict(kBatch);
    }
}

void run(const std::string& folder, double gigabytes) {
    DiskTierOptions options;
    options.folder = folder;
    options.bytes_max = static_cast<std::int64_t>(gigabytes * 1.1e9);
    options.page_bytes = kPageBytes;
    options.fingerprint = 1;
    options.pages_pending_max = kBatch;
    double took_s = 0;
    {
        const auto disk = open(options, took_s);
        fill(*disk, static_cast<std::int64_t>(gigabytes * 1e9) / disk->slot_bytes());
    }
    const auto tell = [&](const char* how) {
        const auto disk = open(options, took_s);
        const DiskTierStats stats = disk->stats();
        std::printf("%-16s %8.2f s for %lld pages, %.2f GB on disk\n", how, took_s,
                    static_cast<long long>(stats.pages), static_cast<double>(stats.bytes) / 1e9);
    };
    tell("index files");
    for (const auto& entry : fs::directory_iterator(folder))
        if (entry.path().extension() == ".index") fs::remove(entry.path());
    tell("without them");
}

}  // namespace
}  // namespace hearth

int main(int argc, char** argv) {
    const double gigabytes = argc == 3 ? std::atof(argv[2]) : 0;
    if (gigabytes <= 0) {
        std::fprintf(stderr,
                     "usage: disk_index_bench FOLDER GIGABYTES (the folder is made anew)\n");
        return 2;
    }
    std::filesystem::remove_all(argv[1]);
    hearth::run(argv[1], gigabytes);
    std::filesystem::remove_all(argv[1]);
}
