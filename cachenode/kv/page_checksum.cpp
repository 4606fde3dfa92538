// One call of xxHash 0.8.
#include "cachenode/kv/page_checksum.h"

#include <xxhash.h>

namespace hearth {

std::uint64_t page_checksum(const std::byte* page, std::size_t page_bytes) {
    return XXH3_64bits(page, page_bytes);
}

}  // namespace hearth
