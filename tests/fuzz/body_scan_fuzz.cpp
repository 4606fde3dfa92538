// Fuzz target of the body scan: pieces give what the whole gives, and an accepted body is an
// object. Build and run: ./dev fuzz body_scan
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "router/session/body_scan.h"

using hearth::BodyScan;

namespace {

BodyScan::Progress scan(BodyScan& scan, std::string_view body, std::size_t step) {
    for (std::size_t at = 0; at < body.size(); at += step) {
        const std::string piece(body.substr(at, step));
        const auto progress = scan.feed(piece);
        if (progress != BodyScan::Progress::kMore) return progress;
    }
    return scan.finish();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view body(reinterpret_cast<const char*>(bytes) + 1, size - 1);
    BodyScan whole(true), pieces(true);
    const auto expected = scan(whole, body, body.size() + 1);
    const auto progress = scan(pieces, body, 1 + bytes[0] % 16);
    if (progress != expected || progress == BodyScan::Progress::kMore) std::abort();
    if (progress == BodyScan::Progress::kBad) return whole.error().empty() ? std::abort(), 0 : 0;
    if (whole.key().value != pieces.key().value || whole.key().value.empty()) std::abort();
    if (whole.key().source != pieces.key().source) std::abort();
    if (whole.key().value.size() > hearth::kRawKeyBytesMax) std::abort();
    return 0;
}
