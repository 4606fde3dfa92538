// Fuzz target of SseReader: however the bytes are cut, the events are those of a plain reading of
// the whole text. Build and run: ./dev fuzz sse
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/check.h"
#include "common/net/sse.h"

namespace {

using Events = std::vector<std::string>;

std::vector<std::string_view> lines_of(std::string_view text) {
    std::vector<std::string_view> lines;
    std::size_t begin = 0;
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (text[at] != '\r' && text[at] != '\n') continue;
        lines.push_back(text.substr(begin, at - begin));
        if (text[at] == '\r' && at + 1 < text.size() && text[at + 1] == '\n') ++at;
        begin = at + 1;
    }
    return lines;  // What no line end follows is not a line.
}

Events plain_reading(std::string_view text) {
    Events events;
    std::vector<std::string_view> data;
    for (const std::string_view line : lines_of(text)) {
        const std::string_view name = line.substr(0, line.find(':'));
        if (line.empty() && !data.empty()) {
            std::string joined(data[0]);
            for (std::size_t i = 1; i < data.size(); ++i) joined.append("\n").append(data[i]);
            events.push_back(joined);
        }
        if (line.empty()) data.clear();
        if (name != "data") continue;
        std::string_view value = line.substr(std::min(line.size(), name.size() + 1));
        if (value.starts_with(' ')) value.remove_prefix(1);
        data.push_back(value);
    }
    return events;
}

Events read_in_steps(std::string_view text, std::size_t step) {
    Events events;
    hearth::SseReader reader;
    for (std::size_t at = 0; at < text.size(); at += step)
        reader.feed(text.substr(at, step),
                    [&](std::string_view data) { events.emplace_back(data); });
    CHECK(!reader.broken());
    return events;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view text(reinterpret_cast<const char*>(bytes) + 1, size - 1);
    const Events expected = plain_reading(text);
    CHECK(read_in_steps(text, 1 + bytes[0] % 16) == expected);
    CHECK(read_in_steps(text, size) == expected);
    return 0;
}
