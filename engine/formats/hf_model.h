// load_hugging_face: a folder with config.json, safetensors and tokenizer.json to a Checkpoint.
#pragma once

#include <boost/json/object.hpp>
#include <string>

#include "engine/formats/families.h"
#include "engine/model/checkpoint.h"

namespace hearth::engine {

// Errors as load_checkpoint says. Rows of Q and K stay as the checkpoint has them: in halves for
// RoPE (RopeStyle::kHalves).
Result<Checkpoint> load_hugging_face(const std::string& folder, const LoadOptions& options);

// config.json of one of families(). `file` is the name for messages. The result is not validated
// yet.
Result<ModelConfig> read_hf_config(const boost::json::object& config, const std::string& file);
const Family* hf_family(const boost::json::object& config);  // Null if it is none of ours.

// The JSON documents beside the weights; all but the first two may be empty.
struct HfTokenizerFiles {
    boost::json::object config;            // config.json
    boost::json::object tokenizer;         // tokenizer.json
    boost::json::object tokenizer_config;  // tokenizer_config.json
    boost::json::object generation;        // generation_config.json
    std::string folder;                    // For messages.
};
// kUnsupported names the part of tokenizer.json that Hearth has no rule for.
Result<VocabularySpec> read_hf_vocabulary(const HfTokenizerFiles& files, std::int32_t vocab_size);

// tokenizer_config.json's chat_template: one text, or a list of named ones of which "default"
// counts.
std::string read_hf_chat_template(const boost::json::object& tokenizer_config);

}  // namespace hearth::engine
