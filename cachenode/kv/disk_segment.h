// DiskSegment: one append-only file of page records in slots of one size.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "cachenode/kv/segment_index.h"
#include "common/base/result.h"

namespace hearth {

// What a record must be to be believed.
struct WantedPage {
    PageHash hash, before;
    std::span<const engine::TokenId> tokens;  // Compared: a name is no proof.
};

enum class ReadOutcome { kGood, kCorrupt, kFailed };

// The file's calls, all of them blocking, for the disk tier's threads; a segment may be read by
// several at once while one writes other slots. The file closes with the last user, so a segment
// that was dropped can still be read to the end.
class DiskSegment {
  public:
    DiskSegment(std::string path, const PageRecordFacts& facts) : path_(path), facts_(facts) {}
    ~DiskSegment();
    DiskSegment(const DiskSegment&) = delete;
    DiskSegment& operator=(const DiskSegment&) = delete;

    static std::int64_t slot_bytes(std::size_t page_bytes) {
        return static_cast<std::int64_t>(sizeof(PageRecordHeader) + page_bytes);
    }

    // Makes the file if need be. kUnavailable: no room, no permission, a failing disk.
    Result<void> write(std::int32_t slot, const PageRecordHeader& header, const std::byte* page);
    // Verified: header, ids and bytes are those that were asked for and stored.
    ReadOutcome read(std::int32_t slot, const WantedPage& wanted, std::byte* page);
    Result<void> wipe(std::int32_t slot);  // Zeros, so that nothing of it is left to find.
    void remove();                         // The files' names; their bytes go with the last user.

    // Opens a file that an earlier run left and tells each slot with a sound header. Slots that are
    // not sound (a torn write, a hole) are passed over. Returns the number of slots. Payloads are
    // not read: they prove themselves when they are.
    using Visit = std::function<void(std::int32_t slot, const PageRecordHeader& header)>;
    Result<std::int32_t> scan(const Visit& visit);

    // The same from the segment's index; nothing where that does not fit the file.
    std::optional<std::vector<SlotName>> read_index();
    // Of a segment that nothing will be appended to.
    Result<void> write_index(std::vector<SlotName> slots);
    void drop_index();  // For good: something that it names was wiped.

    std::uint64_t newest_ms() const { return newest_ms_; }
    const std::string& path() const { return path_; }

  private:
    Result<int> descriptor(bool make);
    std::string index_path() const { return path_ + ".index"; }
    Result<std::int32_t> slots();
    std::int64_t offset(std::int32_t slot) const { return slot * slot_bytes(facts_.page_bytes); }

    std::string path_;
    PageRecordFacts facts_;
    std::atomic<int> file_{-1};
    std::atomic<std::uint64_t> newest_ms_{0};
    std::mutex index_mutex_;  // Held while the index's file changes.
    bool index_dropped_ = false;
};

}  // namespace hearth
