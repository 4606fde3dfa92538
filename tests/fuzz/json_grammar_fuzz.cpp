// Fuzz target of bound replies: a schema, a byte 0, then a reply. What the grammar takes is JSON.
// Build and run: ./dev fuzz json_grammar
#include <algorithm>
#include <boost/json/parse.hpp>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "cachenode/api/schema_reader.h"
#include "cachenode/api/strict_json.h"
#include "common/base/check.h"
#include "engine/text/json_state.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(bytes), size);
    const std::size_t end = std::min(input.find('\0'), input.size());
    const auto schema = hearth::parse_strict_json(input.substr(0, end));
    if (!schema.ok()) return 0;
    hearth::engine::JsonGrammar grammar;
    std::int32_t shape = 0;
    const auto error = hearth::read_schema(*schema, "s", grammar, shape);
    if (error) {
        CHECK(error->status == 400 && error->param.starts_with("s"));
        return 0;
    }
    grammar.set_root(shape);
    const std::string_view reply = input.substr(std::min(end + 1, input.size()));
    hearth::engine::JsonState state(grammar);
    std::size_t taken = 0;
    while (taken < reply.size() && state.push(static_cast<unsigned char>(reply[taken]))) ++taken;
    if (taken < reply.size()) return 0;
    if (state.may_end()) {
        boost::json::error_code failed;
        boost::json::parse({reply.data(), reply.size()}, failed);
        CHECK(!failed);
        return 0;
    }
    // Some byte goes on.
    bool goes_on = false;
    for (int byte = 0; byte < 256 && !goes_on; ++byte) {
        hearth::engine::JsonState next = state;
        goes_on = next.push(static_cast<unsigned char>(byte));
    }
    CHECK(goes_on);
    return 0;
}
