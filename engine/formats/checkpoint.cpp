// load_checkpoint: picks the reader by what `path` is.
#include "engine/model/checkpoint.h"

#include <filesystem>
#include <new>
#include <stdexcept>

#include "engine/formats/fault.h"
#include "engine/formats/gguf_model.h"
#include "engine/formats/hf_model.h"
#include "engine/formats/mapped_file.h"

namespace hearth::engine {

namespace {

Result<Checkpoint> load(const std::string& path, const LoadOptions& options) {
    std::error_code ignored;  // What cannot be looked at is reported by the open below.
    if (std::filesystem::is_directory(path, ignored)) return load_hugging_face(path, options);
    const auto file = MappedFile::open(path);
    if (!file) return file.error();
    if (path.ends_with(".safetensors"))
        return unsupported(path,
                           "give the folder that holds it, with config.json and "
                           "tokenizer.json");
    return load_gguf(file->bytes(), path, options);
}

}  // namespace

Result<Checkpoint> load_checkpoint(const std::string& path, const LoadOptions& options) {
    try {
        return load(path, options);
    } catch (const std::bad_alloc&) {
        return too_large(path, "the model does not fit in memory");
    } catch (const std::filesystem::filesystem_error& problem) {
        return fault(ErrorCode::kUnavailable, path, problem.what());
    }
}

}  // namespace hearth::engine
