// How names from an untrusted file appear in messages.
#include "engine/formats/fault.h"

namespace hearth::engine {

std::string legible(std::string_view name, std::size_t max) {
    std::string out(name.substr(0, max));
    for (char& c : out)
        if (c < 0x20 || c > 0x7e) c = '?';
    if (name.size() > max) out += "...";
    return out;
}

std::string in_quotes(std::string_view name) {
    return "'" + legible(name) + "'";
}

}  // namespace hearth::engine
