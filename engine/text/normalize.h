// nfc: Unicode's canonical composition, which some tokenizers apply before they cut text.
#pragma once

#include <string>
#include <string_view>

namespace hearth::engine {

// Normalization form C (Unicode Standard Annex #15) of the valid parts of `text`; bytes that are
// not UTF-8 stay where they are. O(n log n), also for endless runs of combining marks.
std::string nfc(std::string_view text);

}  // namespace hearth::engine
