// ResponseWriter: answers of /v1/responses: the response object, and the events that build it.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "cachenode/api/answer_writer.h"

namespace hearth {

struct ResponseFacts {
    std::string id;            // "resp_..."
    std::int64_t created = 0;  // Unix seconds.
    std::string model;
    bool store = true;
    bool logprobs = false;
    boost::json::object shown;  // Settings as the request gave them.
};

// One reply. Its text is one message; each call is an item of its own behind it. The tokenizer
// outlives it.
class ResponseWriter final : public AnswerWriter {
  public:
    ResponseWriter(ResponseFacts head, const engine::Tokenizer& tokenizer)
        : head_(std::move(head)), tokenizer_(tokenizer) {}

    std::string first_chunks() override;
    std::string chunk(std::string_view text, std::span<const engine::Sampled> logprobs,
                      std::size_t choice) override;
    std::string call_chunk(const MadeCall& call, std::size_t index, std::size_t choice) override;
    std::string finish_chunk(FinishReason finish, std::size_t choice) override;
    std::string end(const TurnUsage& usage) override;
    std::string failure(const ApiError& error) override;
    std::string whole(std::span<const Choice> choices, const TurnUsage& usage) override;

    // Behind what was written without being sent: the next event's number is one above `last`, as
    // a client that lagged got several events' text in one.
    void number_behind(std::int64_t last) { sequence_ = last + 1; }

    // The whole response, which end() or whole() has written.
    const std::string& answer() const { return answer_; }

  private:
    std::string event(std::string_view type, boost::json::object fields);
    std::string open_message();
    std::string close_message();
    boost::json::object text_part() const;
    boost::json::object message_item(std::string_view status) const;
    boost::json::object call_item(const MadeCall& call, std::string_view status) const;
    boost::json::object response(std::string_view status, const TurnUsage* usage) const;

    ResponseFacts head_;
    const engine::Tokenizer& tokenizer_;
    std::int64_t sequence_ = 0;    // Of the next event.
    boost::json::array output_;    // Whole items.
    bool in_message_ = false;      // Begun, and not among those yet.
    std::string text_;             // Of the message.
    boost::json::array logprobs_;  // Likewise, if asked for.
    FinishReason finish_ = FinishReason::kStop;
    std::string answer_;
};

}  // namespace hearth
