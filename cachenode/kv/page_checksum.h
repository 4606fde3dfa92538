// page_checksum: tells whether a page's bytes are still those that the engine wrote.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hearth {

// XXH3-64 over all bytes of the page, used or not. The same number goes with the page into every
// tier and over the wire.
std::uint64_t page_checksum(const std::byte* page, std::size_t page_bytes);

}  // namespace hearth
