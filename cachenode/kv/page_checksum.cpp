// One call of xxHash 0.8.
#include "cachenode/kv/page_checksum.h"

#if defined(__x86_64__)
#include <xxh_x86dispatch.h>  // The widest vectors that this machine has; the same sums.
#else
#include <xxhash.h>
#endif

namespace hearth {

std::uint64_t page_checksum(const std::byte* page, std::size_t page_bytes) {
    return XXH3_64bits(page, page_bytes);
}

}  // namespace hearth
