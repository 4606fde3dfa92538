// Walks the YAML tree and takes out the values of settings whose names say that they are secrets.
#include "common/config/redact.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <sstream>

namespace hearth {
namespace {

constexpr const char* kRedacted = "<redacted>";

std::vector<std::string> words_of(const std::string& setting) {
    std::vector<std::string> words(1);
    for (const char c : setting) {
        if (c == '_' || c == '-' || c == '.')
            words.emplace_back();
        else
            words.back() += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    return words;
}

bool has(const std::vector<std::string>& words, const char* word) {
    return std::find(words.begin(), words.end(), word) != words.end();
}

void take_out(YAML::Node node, CleanSettings& out) {
    if (node.IsScalar()) {
        if (!node.Scalar().empty()) out.secrets.push_back(node.Scalar());
        node = std::string(kRedacted);
    } else if (node.IsSequence()) {
        for (std::size_t i = 0; i < node.size(); ++i) take_out(node[i], out);
    } else if (node.IsMap()) {
        for (auto pair : node) take_out(pair.second, out);
    }
}

void walk(YAML::Node node, CleanSettings& out) {
    if (node.IsSequence())
        for (std::size_t i = 0; i < node.size(); ++i) walk(node[i], out);
    if (!node.IsMap()) return;
    for (auto pair : node) {
        const std::string name = pair.first.IsScalar() ? pair.first.Scalar() : "";
        const bool file = name.ends_with("_file") && pair.second.IsScalar();
        if (file && names_a_secret(name.substr(0, name.size() - 5)))
            out.secret_files.push_back(pair.second.Scalar());
        if (names_a_secret(name))
            take_out(pair.second, out);
        else
            walk(pair.second, out);
    }
}

}  // namespace

bool names_a_secret(const std::string& setting) {
    const std::vector<std::string> words = words_of(setting);
    if (words.back() == "file" || words.back() == "path") return false;
    constexpr std::array<const char*, 8> kWords = {
        "secret", "secrets", "password", "passwd", "token", "authorization", "credentials", "keys"};
    const auto is_in = [&words](const char* word) { return has(words, word); };
    return std::any_of(kWords.begin(), kWords.end(), is_in) ||
           (has(words, "api") && has(words, "key"));
}

Result<CleanSettings> without_secrets(const std::string& yaml) {
    try {
        YAML::Node root = YAML::Load(yaml);
        CleanSettings out;
        walk(root, out);
        YAML::Emitter emitter;
        emitter << root;
        out.text = std::string(emitter.c_str()) + "\n";
        return out;
    } catch (const YAML::Exception& e) {
        return make_error(ErrorCode::kInvalidArgument, e.what());
    }
}

}  // namespace hearth
