// fault: errors about a file, in one form: "FILE: what is wrong", with names from the file made
// safe.
#pragma once

#include <string>
#include <string_view>

#include "common/base/result.h"

namespace hearth::engine {

// A name read from an untrusted file, for a message or a log line: bytes outside printable ASCII
// become '?', and at most `max` bytes are kept.
std::string legible(std::string_view name, std::size_t max = 80);
std::string in_quotes(std::string_view name);  // The same, in '...'.

inline Error fault(ErrorCode code, const std::string& file, const std::string& what) {
    return make_error(code, file + ": " + what);
}
inline Error corrupt(const std::string& file, const std::string& what) {
    return fault(ErrorCode::kCorrupt, file, what);
}
inline Error unsupported(const std::string& file, const std::string& what) {
    return fault(ErrorCode::kUnsupported, file, what);
}
inline Error too_large(const std::string& file, const std::string& what) {
    return fault(ErrorCode::kTooLarge, file, what);
}

}  // namespace hearth::engine
