// SegmentIndex: what a full segment of the disk tier holds, in one small file beside it, so that a
// start need not read the segment.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cachenode/kv/page_record.h"
#include "common/base/result.h"

namespace hearth {

struct SlotName {
    PageHash hash;  // Zeros: nothing is there that could be found.
    std::uint32_t owner = 0;
    std::uint32_t reserved = 0;
};
static_assert(sizeof(SlotName) == 24);

struct SegmentIndex {
    std::uint64_t newest_ms = 0;  // Unix time of its youngest record.
    std::vector<SlotName> slots;

    static std::int64_t file_bytes(std::int64_t slots);
};

// Blocking. A file that was cut or changed is no index; nor is one of another model or page size.
// It is a hint like all names: a record proves itself when it is read.
Result<void> write_segment_index(const std::string& path, const SegmentIndex& index,
                                 const PageRecordFacts& facts);
std::optional<SegmentIndex> read_segment_index(const std::string& path,
                                               const PageRecordFacts& facts);

}  // namespace hearth
