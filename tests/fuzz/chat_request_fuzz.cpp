// Fuzz target of the API's door: whatever the bytes, a request in range or a 400 that is JSON.
// Build and run: ./dev fuzz chat_request
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "cachenode/api/chat_request.h"
#include "cachenode/api/strict_json.h"
#include "common/base/check.h"

// Whatever the bytes, each endpoint gives a request in range or a 400 whose body is JSON.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const std::string_view body(reinterpret_cast<const char*>(bytes), size);
    constexpr std::int32_t kVocabulary = 100;
    const auto check = [](const std::optional<hearth::ApiError>& error,
                          const hearth::TurnOptions& options) {
        if (error) {
            CHECK(error->status == 400);
            CHECK(hearth::parse_strict_json(error->body()).ok());
            return;
        }
        CHECK(options.sampling.temperature >= 0.0f && options.sampling.temperature <= 2.0f);
        CHECK(!options.max_tokens || *options.max_tokens > 0);
        for (const auto& [id, bias] : options.sampling.logit_bias) CHECK(id < kVocabulary);
    };
    hearth::ChatRequest chat;
    check(hearth::parse_chat_request(body, kVocabulary, chat), chat.options);
    hearth::CompletionRequest completion;
    check(hearth::parse_completion_request(body, kVocabulary, completion), completion.options);
    return 0;
}
