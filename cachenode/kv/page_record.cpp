// Headers are made from zeroed memory, so that their padding is the same everywhere.
#include "cachenode/kv/page_record.h"

#include <algorithm>
#include <cstring>

#include "cachenode/kv/page_checksum.h"

namespace hearth {
namespace {

constexpr std::uint64_t kMagic = 0x6567'6170'766b'7268;  // "hrkvpage"
constexpr std::uint32_t kFormat = 1;

std::uint64_t checksum_of(const PageRecordHeader& header) {
    return page_checksum(reinterpret_cast<const std::byte*>(&header),
                         offsetof(PageRecordHeader, header_checksum));
}

}  // namespace

PageRecordHeader make_record_header(const CachedPage& page, const PageRecordFacts& facts) {
    PageRecordHeader header;
    header.magic = kMagic;
    header.format = kFormat;
    header.tokens = static_cast<std::uint32_t>(page.tokens.size());
    header.fingerprint = facts.fingerprint;
    header.hash = page.hash;
    header.before = page.before;
    header.page_bytes = facts.page_bytes;
    header.checksum = page.checksum;
    header.written_ms = facts.written_ms;
    header.owner = page.owner;
    std::copy(page.tokens.begin(), page.tokens.end(), header.ids.begin());
    header.header_checksum = checksum_of(header);
    return header;
}

bool is_valid(const PageRecordHeader& header, const PageRecordFacts& facts) {
    if (header.magic != kMagic || header.format != kFormat) return false;
    if (header.header_checksum != checksum_of(header)) return false;
    if (header.fingerprint != facts.fingerprint || header.page_bytes != facts.page_bytes) {
        return false;
    }
    if (header.tokens < 1 || header.tokens > engine::kPageTokens) return false;
    return chain_hash(header.before, std::span(header.ids).first(header.tokens)) == header.hash;
}

}  // namespace hearth
