// Tools of a chat request: functions, which of them may or must be called, and what they gave.
#pragma once

#include <boost/json/value.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cachenode/api/field_reader.h"
#include "engine/text/chat_template.h"
#include "engine/text/json_grammar.h"

namespace hearth {

struct ToolOptions {
    enum class Choice { kAuto, kNone, kRequired, kNamed };

    std::vector<boost::json::value> functions;  // As they came: {"type", "function"}.
    std::vector<std::string> names;             // Of each.
    Choice choice = Choice::kAuto;
    std::string named;     // kNamed
    bool nested = true;    // A function's fields stand in "function".
    bool parallel = true;  // False: of several calls in a reply the first counts.

    bool offered() const { return !functions.empty() && choice != Choice::kNone; }
    bool must_call() const { return choice == Choice::kRequired || choice == Choice::kNamed; }
};

// Pure; failures are left in the reader. `nested`: a function's fields stand in "function", as in
// chats; in /v1/responses they stand beside "type".
void read_tools(FieldReader& reader, bool nested, ToolOptions& out);

// An assistant message's tool_calls: [{id, type, function: {name, arguments}}].
void read_tool_calls(FieldReader& reader, const boost::json::value& calls, const std::string& name,
                     std::vector<engine::ToolCall>& out, std::vector<std::string>& ids);

// A 400 unless the template knows tools, or there are none in request and messages.
std::optional<ApiError> check_tools(const ToolOptions& tools,
                                    const std::vector<engine::ChatMessage>& messages,
                                    engine::ToolFormat format);

// The functions as the template spells them; `opens_call` where a call must come.
engine::ChatTools chat_tools(const ToolOptions& tools, engine::ToolFormat format);

// The grammar of exactly one call that `tools` asks for. The 400 names the keyword of a parameters
// schema that is beyond the subset.
std::optional<ApiError> call_grammar(const ToolOptions& tools, engine::ToolFormat format,
                                     engine::JsonGrammar& out);

// What the reply is bound to: the call that must come; what it was bound to before (`param`) or a
// call, where calls are offered; else nothing changes.
std::optional<ApiError> bind_calls(const ToolOptions& tools, engine::ToolFormat format,
                                   const std::string& param,
                                   std::optional<engine::JsonGrammar>& grammar);

// Widens the grammar of a reply that is bound to a format: it may be one call instead, of any
// arguments. A 400 about `param` where the family's calls cannot be told from such a reply by how
// it begins.
std::optional<ApiError> add_calls(const ToolOptions& tools, engine::ToolFormat format,
                                  const std::string& param, engine::JsonGrammar& grammar);

// JSON on one line with a space behind ':' and ',', or with `indent` spaces a level: how templates
// show functions.
std::string spaced_json(const boost::json::value& value, int indent);

}  // namespace hearth
