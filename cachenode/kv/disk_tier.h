// DiskTier: KV pages on a local disk: a log of segments under a budget, and an index of them in
// memory.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "cachenode/kv/disk_jobs.h"
#include "cachenode/kv/disk_segment.h"
#include "cachenode/kv/prefix_tree.h"
#include "common/base/clock.h"
#include "common/base/result.h"

namespace hearth {

struct DiskTierOptions {
    std::string folder;
    std::int64_t bytes_max = 0;  // Of all files together; exact.
    std::size_t page_bytes = 0;
    std::uint64_t fingerprint = 0;       // Of the model; other models' records are not believed.
    std::int64_t pages_pending_max = 8;  // Written behind at once; each is pinned meanwhile.
    bool has_threads = true;             // False: poll() does the work; for tests.
};

struct DiskTierStats {
    std::int64_t bytes = 0, bytes_max = 0, pages = 0, pages_pending = 0;  // Now.
    // Ever. Skipped: no room in the queue, or its room was wanted by a turn; most are written
    // later.
    std::int64_t written = 0, skipped = 0, evicted = 0, loaded = 0, corrupt = 0, failures = 0;
    double load_bytes_per_s = 0;  // Measured; 0 = nothing was loaded yet.
};

// Scheduler's thread, but for its jobs. Invariants: the index names only records whose write has
// succeeded; bytes <= bytes_max; a page that is loaded is the one that was asked for, to the byte,
// or it is not loaded. Losing the folder loses no answer.
class DiskTier {
  public:
    // Reads the index of what an earlier run left, from the files beside full segments and the
    // headers of others. One process a folder:
    // kUnavailable when it is taken, cannot be made or cannot be read. `wake`: from any thread.
    static Result<std::unique_ptr<DiskTier>> open(const DiskTierOptions& options,
                                                  const Clock& clock, std::function<void()> wake);
    ~DiskTier();  // Ends what is queued first.

    struct FoundPage {
        PageHash hash, before;
        std::size_t first = 0, tokens = 0;  // Of the tokens that were asked for.
    };
    // The pages that go on with `rest` behind the page `at`: whole ones, then the longest part of a
    // page that was stored by itself.
    std::vector<FoundPage> find(const PageHash& at, std::span<const engine::TokenId> rest) const;

    // Queues what is not here yet, in order; pinned until it is written. Never blocks. False: there
    // was no room for all of it in the queue; try again when has_room().
    bool write_behind(PrefixTree::Lease lease);
    bool is_writing() const { return !pending_.empty(); }
    bool has_room() const;  // Half of the queue, on a disk that is not late.
    // Gives up the writes that have not begun, and their pins, if the disk is late: memory is
    // wanted now. Returns how many; they are to be queued again when has_room().
    std::int64_t shed();

    // Reads pages of find() into `into`, one each, which must live until `done` is called by a
    // later poll(), in the order given; it may name fewer outcomes than pages after a bad one.
    using LoadDone = std::function<void(const std::vector<ReadOutcome>& outcomes)>;
    void load(const std::vector<FoundPage>& pages, std::vector<engine::TokenId> rest,
              std::vector<std::byte*> into, LoadDone done);
    // Whether to read so many pages, behind those that are queued, is expected to be quicker than
    // to compute them. Each no makes the next yes likelier: a disk that was slow is tried again.
    bool is_quicker(std::int64_t pages, double compute_s);

    bool poll() { return jobs_.finish(); }  // True when something was finished.
    // Wipes the records that only the session with this tag used; returns how many pages.
    std::int64_t erase(std::uint32_t owner);
    void expire(std::uint64_t before_ms);  // Drops segments that are all older (Unix time).

    DiskTierStats stats() const;
    std::int64_t slot_bytes() const { return slot_bytes_; }

  private:
    struct Place {
        std::uint32_t segment = 0;
        std::int32_t slot = 0;
        std::uint32_t owner = 0;
    };
    struct Segment {
        std::uint32_t id = 0;
        std::shared_ptr<DiskSegment> file;
        std::vector<PageHash> names;   // By slot; zeros where nothing is.
        std::int32_t writing = 0;      // Slots whose write is queued.
        std::int64_t index_bytes = 0;  // Of the file that names its records; 0 = none yet.
    };
    struct Write {
        PageHash hash;
        Place place;
        MonotonicNs queued = 0;
    };
    DiskTier(const DiskTierOptions& options, const Clock& clock, std::function<void()> wake);

    Result<void> lock_folder();
    Result<void> read_folder();
    Result<void> read_segment(std::uint32_t id);
    void seal(Segment& segment);
    std::int64_t bytes() const { return slots_ * slot_bytes_ + index_bytes_; }
    std::int64_t index_bytes_max() const;
    std::string path_of(std::uint32_t id) const;
    Segment* segment(std::uint32_t id);
    Place new_place(std::uint32_t owner);
    void drop_oldest();
    bool wants(const CachedPage& page) const;
    bool is_late() const;
    void queue_write(const CachedPage& page, const std::shared_ptr<PrefixTree::Lease>& lease,
                     std::uint64_t now_ms);
    void written(const Result<void>& result);
    void loaded(const std::vector<ReadOutcome>& outcomes, double took_s);
    double load_seconds(std::int64_t pages) const;

    DiskTierOptions options_;
    const Clock& clock_;
    std::int64_t slot_bytes_;
    std::int32_t segment_slots_;
    int lock_ = -1;
    std::deque<Segment> segments_;  // Oldest first.
    std::uint32_t next_segment_ = 1;
    std::unordered_map<PageHash, Place> index_;
    std::deque<Write> pending_;  // In the order of the queue.
    std::unordered_map<PageHash, bool> pending_names_;
    std::vector<Place> spare_;  // Slots whose write was given up.
    std::int64_t slots_ = 0, index_bytes_ = 0;
    std::int64_t pages_loading_ = 0;
    MonotonicNs paused_until_ = 0;  // After a write that failed.
    double load_bytes_per_s_ = 0;
    DiskTierStats counters_;
    DiskJobs jobs_;  // Last: its end runs jobs that use the rest.
};

}  // namespace hearth
