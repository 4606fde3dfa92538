// Gathers the files of a Hugging Face folder and joins what they say into one Checkpoint.
#include "engine/formats/hf_model.h"

#include <filesystem>
#include <utility>

#include "engine/formats/fault.h"
#include "engine/formats/fingerprint.h"
#include "engine/formats/json_file.h"
#include "engine/formats/safetensors_reader.h"
#include "engine/formats/weights_loader.h"

namespace hearth::engine {

namespace json = boost::json;

namespace {

constexpr std::size_t kConfigBytesMax = 1u << 20;
constexpr std::size_t kTokenizerBytesMax = 64u << 20;

Result<json::object> read_optional(const std::string& path, std::size_t max_bytes) {
    if (!std::filesystem::exists(path)) return json::object();
    return read_json(path, max_bytes);
}

Result<HfTokenizerFiles> read_documents(const std::string& folder) {
    HfTokenizerFiles out;
    out.folder = folder;
    auto config = read_json(folder + "/config.json", kConfigBytesMax);
    if (!config) return config.error();
    auto tokenizer = read_json(folder + "/tokenizer.json", kTokenizerBytesMax);
    if (!tokenizer) return tokenizer.error();
    auto tokenizer_config = read_optional(folder + "/tokenizer_config.json", kConfigBytesMax);
    if (!tokenizer_config) return tokenizer_config.error();
    auto generation = read_optional(folder + "/generation_config.json", kConfigBytesMax);
    if (!generation) return generation.error();
    out.config = std::move(*config);
    out.tokenizer = std::move(*tokenizer);
    out.tokenizer_config = std::move(*tokenizer_config);
    out.generation = std::move(*generation);
    return out;
}

// Newer exporters write the template as a file of its own.
Result<std::string> read_template(const HfTokenizerFiles& files) {
    std::string text = read_hf_chat_template(files.tokenizer_config);
    const std::string path = files.folder + "/chat_template.jinja";
    if (!text.empty() || !std::filesystem::exists(path)) return text;
    const auto file = MappedFile::open(path);
    if (!file) return file.error();
    if (file->bytes().size() > kConfigBytesMax) return too_large(path, "a template over 1 MiB");
    text.assign(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
    return text;
}

}  // namespace

std::string read_hf_chat_template(const json::object& tokenizer_config) {
    const json::value* value = member(tokenizer_config, "chat_template");
    if (value == nullptr) return "";
    if (value->is_string()) return std::string(value->get_string());
    if (!value->is_array()) return "";
    std::string chosen;
    for (const json::value& each : value->get_array()) {
        const json::object* entry = each.if_object();
        if (entry == nullptr) continue;
        if (chosen.empty() || text_member(*entry, "name") == "default")
            chosen = text_member(*entry, "template");
    }
    return chosen;
}

Result<Checkpoint> load_hugging_face(const std::string& folder, const LoadOptions& options) {
    const auto documents = read_documents(folder);
    if (!documents) return documents.error();
    const std::string config_path = folder + "/config.json";
    auto config = read_hf_config(documents->config, config_path);
    if (!config) return config.error();
    const auto files = open_safetensors(folder);
    if (!files) return files.error();
    const Family& family = *hf_family(documents->config);
    const TensorNames& names = family.post_norms ? kHuggingFacePostNormNames : kHuggingFaceNames;
    config->qkv_bias = has_qkv_bias(files->tensors, names);
    if (const auto valid = validate(*config); !valid) {
        const bool large = valid.error().code == ErrorCode::kTooLarge;
        return fault(large ? ErrorCode::kTooLarge : ErrorCode::kCorrupt, config_path,
                     valid.error().message);
    }
    auto vocabulary = read_hf_vocabulary(*documents, config->vocab_size);
    if (!vocabulary) return vocabulary.error();

    Fingerprint fingerprint;
    add_to(fingerprint, *config);
    add_to(fingerprint, *vocabulary);
    WeightsRequest request = {.file = folder,
                              .names = &names,
                              .ignored = {".rotary_emb.inv_freq"},
                              .read_bytes = options.weights,
                              .keep_floats = options.keep_floats,
                              .norm_offset = family.unit_offset_norms ? 1.0f : 0.0f,
                              .scaled_embedding = family.scaled_embedding};
    // Some exporters write the tied matrix twice.
    if (config->tied_embeddings) request.ignored.push_back(names.lm_head);
    auto weights = load_weights(files->tensors, *config, request, fingerprint);
    if (!weights) return weights.error();
    auto chat_template = read_template(*documents);
    if (!chat_template) return chat_template.error();

    Checkpoint out;
    out.config = std::move(*config);
    out.vocabulary = std::move(*vocabulary);
    out.chat_template = std::move(*chat_template);
    out.weights = std::move(*weights);
    out.fingerprint = fingerprint.value();
    return out;
}

}  // namespace hearth::engine
