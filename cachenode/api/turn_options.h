// TurnOptions: what every endpoint that makes turns reads from a body, and how it is read.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/string.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cachenode/api/field_reader.h"
#include "engine/text/json_grammar.h"
#include "engine/text/sampler.h"

namespace hearth {

constexpr std::int64_t kTokensMax = 1 << 24;  // As ModelConfig's longest context.
constexpr std::int64_t kTopLogprobsMax = 20;
constexpr std::int64_t kChoicesMax = 16;

// What all endpoints share. Fields that are absent or null keep these defaults, which are
// OpenAI's.
struct TurnOptions {
    engine::SamplingParams sampling;         // top_logprobs >= 0 asks for logprobs.
    bool seeded = false;                     // False: the seed is drawn per request.
    std::optional<std::int64_t> max_tokens;  // Absent: what the context leaves.
    std::int64_t min_tokens = 0;
    bool ignore_eos = false;
    std::vector<std::string> stop;
    std::vector<engine::TokenId> stop_token_ids;
    bool cache_prompt = true;
    std::optional<bool> truncates;  // Chats: may old turns be dropped? Absent: as configured.
    std::optional<engine::JsonGrammar> grammar;  // The reply's, by response_format.
    std::int64_t choices = 1;                    // "n": replies to the one prompt.
    // Names of fields that we know nothing of, for the header that warns of them.
    std::vector<std::string> ignored;
    bool stream = false;
    bool include_usage = false;  // Of a stream; whole answers always carry usage.
};

// Failures of these are left in the reader. Everything but max_tokens, n and the reply's format,
// which have other names in other endpoints.
void read_turn_options(FieldReader& reader, std::int32_t vocab_size, TurnOptions& out);
void read_model(FieldReader& reader, std::string& out);
// `min_tokens` is read before.
void check_min_tokens(FieldReader& reader, const TurnOptions& options);
void read_token_list(FieldReader& reader, std::string_view name, const boost::json::array& list,
                     std::int32_t vocab_size, std::vector<engine::TokenId>& out);
// Text parts are joined as they stand: a client that splits a text gets what it would have unsplit.
// `types`: what their `type` may be.
void read_content_parts(FieldReader& reader, const std::string& name,
                        const boost::json::array& parts,
                        std::initializer_list<std::string_view> types, std::string& out);
void refuse(FieldReader& reader, std::string_view name, std::string_view what);
// What nobody asked the reader for, once everything was read.
void note_ignored(const FieldReader& reader, std::vector<std::string>& out);

// The body as an object, or the 400 that says why not.
std::optional<ApiError> parse_body(std::string_view body, boost::json::value& out);

std::string indexed(std::string_view name, std::size_t i);  // "name[i]"
std::string_view view_of(const boost::json::string& text);
bool is_empty_list(const boost::json::value& value);

}  // namespace hearth
