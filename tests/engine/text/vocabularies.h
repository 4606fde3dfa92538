// Vocabularies for the tests of engine/text: small ones made here, real ones from the shared suite.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/formats/gguf_model.h"
#include "engine/formats/mapped_file.h"
#include "engine/text/tokenizer.h"

namespace hearth::engine {

// Every byte as a token (ids 0 to 255, in order of the byte), then <|im_start|>, <|im_end|> and
// other control tokens, then what `merges` makes. Merges are written in raw bytes.
VocabularySpec byte_vocabulary(const std::vector<std::pair<std::string, std::string>>& merges = {});

// Printable ASCII (a space as U+2581), byte tokens and a few merged pieces; ids 0 to 2 are <unk>,
// <s> and </s>.
VocabularySpec sentencepiece_vocabulary();

// GPT-2's printable form of raw bytes, as files write tokens.
std::string printable(std::string_view bytes);

// Appends one token and returns its id.
TokenId add_token(VocabularySpec& spec, const std::string& token, TokenType type,
                  float score = 0.0f);

std::unique_ptr<Tokenizer> tokenizer_of(const VocabularySpec& spec);

// Where the suite's file lies; empty if this machine does not have it.
std::string suite_file(const std::string& name);

// The vocabulary `ggml-vocab-<name>.gguf` of the suite.
Result<VocabularySpec> suite_vocabulary(const std::string& name);

std::vector<TokenId> ids_of(const Tokenizer& tokenizer, std::string_view text,
                            Tokenizer::Special special = Tokenizer::Special::kPlain);
std::string text_of(const Tokenizer& tokenizer, const std::vector<TokenId>& ids,
                    bool keep_special = false);

}  // namespace hearth::engine
