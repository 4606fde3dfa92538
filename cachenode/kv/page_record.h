// PageRecord: a page as it lies on disk and goes over the wire: a header that proves itself, then
// the bytes as they are in the engine.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "cachenode/kv/prefix_tree.h"
#include "common/base/result.h"

namespace hearth {

// Little-endian, 384 bytes. The payload follows: page_bytes, with `checksum` over them.
struct PageRecordHeader {
    std::uint64_t magic = 0;
    std::uint32_t format = 0;
    std::uint32_t tokens = 0;  // 1 to 64.
    std::uint64_t fingerprint = 0;
    PageHash hash, before;
    std::uint64_t page_bytes = 0;
    std::uint64_t checksum = 0;
    std::uint64_t written_ms = 0;  // Unix time.
    std::uint32_t owner = 0;       // Tag of the one session that used it; 0 = several, or none.
    std::uint32_t reserved = 0;
    std::array<engine::TokenId, engine::kPageTokens> ids = {};
    std::array<std::uint64_t, 4> padding = {};
    std::uint64_t header_checksum = 0;  // Over all before it; last.
};
static_assert(sizeof(PageRecordHeader) == 384);

struct PageRecordFacts {
    std::uint64_t fingerprint = 0;
    std::size_t page_bytes = 0;
    std::uint64_t written_ms = 0;
};

PageRecordHeader make_record_header(const CachedPage& page, const PageRecordFacts& facts);
// Whether it is whole, of this format, model and page size, and its ids give its hash.
bool is_valid(const PageRecordHeader& header, const PageRecordFacts& facts);

}  // namespace hearth
