// CallReader: a reply's text, as it comes, parted into what is said and which functions are called.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/chat_template.h"

namespace hearth {

// One reply's; one owner. White space before a call is held back, since it is no part of the text.
// What looks like a call and is none stays text. A call comes when it is whole.
class CallReader {
  public:
    // `whole`: the reply is one call or none at all, as where it is bound to a format. Else kTagged
    // may have calls anywhere.
    CallReader(engine::ToolFormat format, bool parallel, bool whole = false)
        : format_(format),
          parallel_(parallel),
          whole_(whole || format != engine::ToolFormat::kTagged) {}

    struct Piece {
        std::string text;                     // Certain now.
        std::vector<engine::ToolCall> calls;  // Behind that text.
    };
    Piece add(std::string_view text);
    Piece finish();                               // The reply is over.
    std::size_t calls() const { return calls_; }  // So far.

  private:
    Piece take_tagged(bool at_end);
    Piece take_whole();
    void keep(engine::ToolCall call, Piece& piece);

    engine::ToolFormat format_;
    bool parallel_;
    bool whole_;
    std::string pending_;
    std::size_t calls_ = 0;
    bool has_text_ = false;  // Something but white space was said.
    bool may_call_ = true;   // whole_: by how the reply begins.
};

// A whole reply as the message that the client will send back.
engine::ChatMessage reply_message(CallReader reader, std::string_view text);

}  // namespace hearth
