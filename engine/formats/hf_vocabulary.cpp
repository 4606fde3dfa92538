// Reads tokenizer.json (BPE) and the special tokens of the files beside it into a VocabularySpec.
#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/formats/end_of_turn.h"
#include "engine/formats/fault.h"
#include "engine/formats/hf_model.h"
#include "engine/formats/json_file.h"

namespace hearth::engine {

namespace json = boost::json;

namespace {

constexpr std::string_view kSpace = "\u2581";  // SentencePiece's visible space.
constexpr std::string_view kNoSteps = "none";

std::string text_of(const json::value& value) {
    return value.is_string() ? std::string(value.get_string()) : std::string();
}

// The parts of a normalizer, pre-tokenizer or post-processor: the members of a Sequence, or itself.
std::vector<const json::object*> steps_of(const json::object& tokenizer, std::string_view part,
                                          std::string_view list) {
    std::vector<const json::object*> out;
    const json::object* top = object_member(tokenizer, part);
    if (top == nullptr) return out;
    if (text_member(*top, "type") != "Sequence") return {top};
    const json::value* members = member(*top, list);
    if (members == nullptr || !members->is_array()) return out;
    for (const json::value& each : members->get_array())
        if (each.is_object()) out.push_back(&each.get_object());
    return out;
}

bool has_step(const std::vector<const json::object*>& steps, std::string_view type) {
    return std::any_of(steps.begin(), steps.end(), [&](const json::object* step) {
        return text_member(*step, "type") == type;
    });
}

class VocabularyReader {
  public:
    VocabularyReader(const HfTokenizerFiles& files, std::int32_t vocab_size)
        : files_(files),
          file_(files.folder + "/tokenizer.json"),
          tokenizer_(files.tokenizer),
          vocab_size_(vocab_size) {}

    Result<VocabularySpec> run() {
        const json::object* model = object_member(tokenizer_, "model");
        if (model == nullptr) return corrupt(file_, "key 'model' is missing");
        const std::string_view type = text_member(*model, "type");
        if (!type.empty() && type != "BPE")
            return unsupported(file_, "tokenizer model " + in_quotes(type) + " (supported: BPE)");
        read_kind(*model);
        if (!error_) read_tokens(*model);
        if (!error_) read_merges(*model);
        if (!error_) read_added_tokens();
        if (!error_) mark_model_tokens(*model);
        if (!error_) read_specials();
        if (error_) return *error_;
        add_end_of_turn(spec_);
        return std::move(spec_);
    }

  private:
    void fail(Error error) {
        if (!error_) error_ = std::move(error);
    }
    void refuse(const std::string& part, std::string_view what) {
        fail(unsupported(file_, part + " " + in_quotes(what) + " is not one that Hearth knows"));
    }

    void read_kind(const json::object& model) {
        const auto pre = steps_of(tokenizer_, "pre_tokenizer", "pretokenizers");
        const auto normal = steps_of(tokenizer_, "normalizer", "normalizers");
        if (has_step(pre, "ByteLevel")) {
            spec_.kind = VocabularyKind::kByteLevelBpe;
            spec_.ignore_merges = flag_member(model, "ignore_merges", false);
            for (const json::object* step : normal) {
                spec_.nfc = text_member(*step, "type") == "NFC";
                if (!spec_.nfc)
                    refuse("byte-level tokenizer with normalizer", text_member(*step, "type"));
            }
            read_byte_level_steps(pre);
        } else if (flag_member(model, "byte_fallback", false)) {
            spec_.kind = VocabularyKind::kSentencePiece;
            read_sentence_piece_steps(normal, pre);
        } else {
            refuse("pre_tokenizer", pre.empty() ? kNoSteps : text_member(*pre[0], "type"));
        }
    }

    // Known: Digits(individual), at most one Split, and last ByteLevel with or without its own
    // pattern (GPT-2's).
    void read_byte_level_steps(const std::vector<const json::object*>& steps) {
        for (const json::object* step : steps) {
            const std::string_view type = text_member(*step, "type");
            if (type == "Digits" && flag_member(*step, "individual_digits", false)) {
                spec_.split_digits = true;
            } else if (type == "Split" && spec_.pre_tokenizer_regex.empty()) {
                read_split(*step);
            } else if (type == "ByteLevel") {
                if (flag_member(*step, "add_prefix_space", true))
                    refuse("pre_tokenizer", "ByteLevel with add_prefix_space");
                if (flag_member(*step, "use_regex", true)) spec_.pre_tokenizer = "gpt-2";
            } else {
                refuse("pre_tokenizer", type);
            }
        }
        // Two patterns one after the other are a rule that VocabularySpec cannot say.
        const bool both = !spec_.pre_tokenizer.empty() && !spec_.pre_tokenizer_regex.empty();
        if (both) refuse("pre_tokenizer", "Split with ByteLevel's use_regex");
        if (spec_.pre_tokenizer.empty() && spec_.pre_tokenizer_regex.empty())
            refuse("pre_tokenizer", "ByteLevel without a pattern");
    }

    // Isolated keeps the matches and what lies between them; Removed inverted keeps the matches
    // only, which is the same as the patterns in use match every character.
    void read_split(const json::object& step) {
        const json::object* pattern = object_member(step, "pattern");
        const std::string_view behavior = text_member(step, "behavior");
        const bool invert = flag_member(step, "invert", false);
        const bool keeps = (behavior == "Isolated" && !invert) || (behavior == "Removed" && invert);
        if (pattern == nullptr || !keeps) return refuse("pre_tokenizer Split", behavior);
        spec_.pre_tokenizer_regex = text_member(*pattern, "Regex");
        if (spec_.pre_tokenizer_regex.empty()) refuse("pre_tokenizer Split", "without a Regex");
    }

    // Either the normalizer writes U+2581 for spaces, or the pre-tokenizer Metaspace does.
    void read_sentence_piece_steps(const std::vector<const json::object*>& normal,
                                   const std::vector<const json::object*>& pre) {
        spec_.add_space_prefix = false;
        bool replaces = false;
        for (const json::object* step : normal) {
            const std::string_view type = text_member(*step, "type");
            const json::object* pattern = object_member(*step, "pattern");
            if (type == "Prepend" && text_member(*step, "prepend") == kSpace) {
                spec_.add_space_prefix = true;
            } else if (type == "Replace" && pattern != nullptr &&
                       text_member(*pattern, "String") == " " &&
                       text_member(*step, "content") == kSpace) {
                replaces = true;
            } else {
                refuse("normalizer", type);
            }
        }
        for (const json::object* step : pre) {
            const std::string_view type = text_member(*step, "type");
            if (type == "Split" && splits_at_spaces(*step)) continue;
            if (type != "Metaspace" || text_member(*step, "replacement") != kSpace)
                return refuse("pre_tokenizer", type);
            const std::string_view scheme = text_member(*step, "prepend_scheme");
            if (scheme.empty() ? flag_member(*step, "add_prefix_space", true) : scheme != "never")
                spec_.add_space_prefix = true;
            replaces = true;
        }
        if (!replaces) refuse("normalizer", "without a rule for spaces");
    }

    // Gemma's: the normalizer has replaced every space by then, so there is nothing to split.
    static bool splits_at_spaces(const json::object& step) {
        const json::object* pattern = object_member(step, "pattern");
        return pattern != nullptr && text_member(*pattern, "String") == " " &&
               text_member(step, "behavior") == "MergedWithPrevious";
    }

    void place(TokenId id, std::string text, const char* where) {
        if (id >= vocab_size_) {
            fail(corrupt(file_, std::string(where) + ": token " + in_quotes(text) + " has id " +
                                    std::to_string(id) + ", the model has " +
                                    std::to_string(vocab_size_)));
            return;
        }
        spec_.tokens[static_cast<std::size_t>(id)] = std::move(text);
    }

    void read_tokens(const json::object& model) {
        const json::object* vocabulary = object_member(model, "vocab");
        if (vocabulary == nullptr) return fail(corrupt(file_, "key 'model.vocab' is missing"));
        const auto size = static_cast<std::size_t>(vocab_size_);
        spec_.tokens.resize(size);
        spec_.types.assign(size, TokenType::kUnused);
        for (const auto& entry : *vocabulary) {
            const auto id = index_of(entry.value());
            if (!id) return fail(corrupt(file_, "key 'model.vocab' holds an id that is none"));
            place(*id, std::string(entry.key()), "model.vocab");
            if (error_) return;
            spec_.types[static_cast<std::size_t>(*id)] = TokenType::kNormal;
            ids_.emplace(entry.key(), *id);
        }
        // Embedding rows beyond the tokenizer's tokens are padding; they still need names.
        for (std::size_t id = 0; id < size; ++id)
            if (spec_.types[id] == TokenType::kUnused)
                spec_.tokens[id] = "<|unused_" + std::to_string(id) + "|>";
    }

    // "left right" or ["left", "right"].
    std::optional<std::pair<std::string, std::string>> merge_of(const json::value& value) {
        std::string left;
        std::string right;
        if (value.is_string()) {
            const std::string text(value.get_string());
            const auto space = text.find(' ', 1);
            if (space == std::string::npos) return std::nullopt;
            left = text.substr(0, space);
            right = text.substr(space + 1);
        } else if (value.is_array() && value.get_array().size() == 2) {
            left = text_of(value.get_array()[0]);
            right = text_of(value.get_array()[1]);
        }
        if (left.empty() || right.empty()) return std::nullopt;
        return std::pair(std::move(left), std::move(right));
    }

    // SentencePiece merges the pair whose result scores best; such a tokenizer.json lists the pairs
    // best result first, so a token's score is minus the rank of the first merge that makes it.
    // What no merge makes (single characters apart) scores below all that one does.
    void read_merges(const json::object& model) {
        const json::value* list = member(model, "merges");
        if (list == nullptr || !list->is_array())
            return fail(corrupt(file_, "key 'model.merges' is missing"));
        const json::array& merges = list->get_array();
        const bool scored = spec_.kind == VocabularyKind::kSentencePiece;
        const float unmade = -static_cast<float>(merges.size());
        if (scored) spec_.scores.assign(spec_.tokens.size(), unmade);
        for (std::size_t rank = 0; rank < merges.size(); ++rank) {
            auto merge = merge_of(merges[rank]);
            if (!merge)
                return fail(corrupt(
                    file_, "key 'model.merges': entry " + std::to_string(rank) + " is no pair"));
            if (!scored) {
                spec_.merges.push_back(std::move(*merge));
                continue;
            }
            const auto it = ids_.find(merge->first + merge->second);
            if (it == ids_.end())
                return fail(corrupt(file_, "key 'model.merges': entry " + std::to_string(rank) +
                                               " makes no token of the vocabulary"));
            float& score = spec_.scores[static_cast<std::size_t>(it->second)];
            if (score == unmade) score = -static_cast<float>(rank);
        }
    }

    // Their lstrip, rstrip, normalized and single_word flags are not kept: they trim text around
    // special tokens that stand in plain text, and Hearth's templates write their own spaces.
    void read_added_tokens() {
        const json::value* list = member(tokenizer_, "added_tokens");
        if (list == nullptr) return;
        if (!list->is_array()) return fail(corrupt(file_, "key 'added_tokens' is no list"));
        for (const json::value& each : list->get_array()) {
            const json::object* token = each.if_object();
            const json::value* number = token == nullptr ? nullptr : member(*token, "id");
            const auto id = number == nullptr ? std::nullopt : index_of(*number);
            if (!id) return fail(corrupt(file_, "key 'added_tokens' holds no id"));
            const std::string content(text_member(*token, "content"));
            place(*id, content, "added_tokens");
            if (error_) return;
            spec_.types[static_cast<std::size_t>(*id)] = flag_member(*token, "special", false)
                                                             ? TokenType::kControl
                                                             : TokenType::kUserDefined;
            ids_.insert_or_assign(content, *id);
        }
    }

    void mark_model_tokens(const json::object& model) {
        spec_.unknown = find(text_member(model, "unk_token"));
        if (spec_.kind != VocabularyKind::kSentencePiece) return;
        if (spec_.unknown >= 0)
            spec_.types[static_cast<std::size_t>(spec_.unknown)] = TokenType::kUnknown;
        constexpr char kHex[] = "0123456789ABCDEF";
        for (int byte = 0; byte < 256; ++byte) {
            const TokenId id = find(std::string("<0x") + kHex[byte / 16] + kHex[byte % 16] + ">");
            if (id >= 0) spec_.types[static_cast<std::size_t>(id)] = TokenType::kByte;
        }
    }

    TokenId find(std::string_view text) const {
        const auto it = ids_.find(std::string(text));
        return text.empty() || it == ids_.end() ? -1 : it->second;
    }

    // tokenizer_config.json names BOS and EOS by text, or by an object that holds the text.
    TokenId named_token(const char* key) const {
        const std::string_view text = text_member(files_.tokenizer_config, key);
        if (!text.empty()) return find(text);
        const json::object* object = object_member(files_.tokenizer_config, key);
        return object == nullptr ? -1 : find(text_member(*object, "content"));
    }

    // An id or a list of ids; those out of range are left out, as they can never be generated.
    std::vector<TokenId> ids_at(const json::object& object, const char* key) const {
        std::vector<TokenId> out;
        const json::value* value = member(object, key);
        const auto add = [&](const json::value& each) {
            const auto id = index_of(each);
            if (id && *id < vocab_size_) out.push_back(*id);
        };
        if (value == nullptr) return out;
        if (!value->is_array()) add(*value);
        if (value->is_array())
            for (const json::value& each : value->get_array()) add(each);
        return out;
    }

    void read_specials() {
        spec_.bos = named_token("bos_token");
        spec_.eos = named_token("eos_token");
        for (const json::object* object : {&files_.generation, &files_.config}) {
            const auto bos = ids_at(*object, "bos_token_id");
            if (spec_.bos < 0 && !bos.empty()) spec_.bos = bos[0];
            for (const TokenId id : ids_at(*object, "eos_token_id")) {
                if (spec_.eos < 0) spec_.eos = id;
                spec_.end_of_turn.push_back(id);
            }
        }
        spec_.add_bos = spec_.bos >= 0 &&
                        flag_member(files_.tokenizer_config, "add_bos_token", begins_with_bos());
    }

    // Does the post-processor's template for a single text open with BOS?
    bool begins_with_bos() const {
        for (const json::object* step : steps_of(tokenizer_, "post_processor", "processors")) {
            const json::value* single = member(*step, "single");
            if (text_member(*step, "type") != "TemplateProcessing" || single == nullptr ||
                !single->is_array() || single->get_array().empty())
                continue;
            const json::object* first = single->get_array()[0].if_object();
            const json::object* token =
                first == nullptr ? nullptr : object_member(*first, "SpecialToken");
            if (token != nullptr && find(text_member(*token, "id")) == spec_.bos) return true;
        }
        return false;
    }

    const HfTokenizerFiles& files_;
    const std::string file_;
    const json::object& tokenizer_;
    const std::int32_t vocab_size_;
    VocabularySpec spec_;
    std::unordered_map<std::string, TokenId> ids_;
    std::optional<Error> error_;
};

}  // namespace

Result<VocabularySpec> read_hf_vocabulary(const HfTokenizerFiles& files, std::int32_t vocab_size) {
    return VocabularyReader(files, vocab_size).run();
}

}  // namespace hearth::engine
