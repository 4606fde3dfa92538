// Fuzz target: frames between nodes. However bytes are cut, the same comes out, and only what its
// checksums prove.
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "cachenode/kv/page_checksum.h"
#include "cachenode/transfer/frame.h"
#include "common/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace hearth;
    constexpr std::size_t kPageBytes = 64;
    if (size == 0) return 0;
    const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
    const std::size_t piece = 1 + data[0];
    FrameReader whole(kPageBytes), cut(kPageBytes);
    const bool is_good = whole.feed(bytes).ok();
    bool is_good_cut = true;
    for (std::size_t at = 0; at < bytes.size() && is_good_cut; at += piece)
        is_good_cut = cut.feed(bytes.substr(at, piece)).ok();
    CHECK(is_good == is_good_cut && whole.at_end() == cut.at_end());
    CHECK(whole.sessions().size() == cut.sessions().size());
    const auto pages = whole.take_pages();
    CHECK(pages.size() == cut.take_pages().size());
    for (const WirePage& page : pages) {
        CHECK(page_checksum(page.bytes.get(), kPageBytes) == page.checksum);
        CHECK(chain_hash(page.before, page.tokens) == page.hash);
    }
    return 0;
}
