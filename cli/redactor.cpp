// Known values first, then patterns: credentials in URLs, bearer tokens, key hashes, name=value.
#include "cli/redactor.h"

#include <array>
#include <regex>
#include <sstream>

namespace hearth::cli {
namespace {

constexpr std::size_t kPieceBytesMax = 4096;  // std::regex recurses over what it matches.
constexpr std::size_t kSecretBytesMin = 8;
constexpr const char* kRedacted = "<redacted>";

struct Pattern {
    std::regex regex;
    const char* replacement;
};

const std::array<Pattern, 5>& patterns() {
    const auto flags = std::regex::ECMAScript | std::regex::icase | std::regex::optimize;
    static const std::array<Pattern, 5> all = {{
        {std::regex(R"((://[^/\s:@]*:)[^/\s@]+@)", flags), "$1<redacted>@"},
        {std::regex(R"((bearer\s+)[^\s"',}]+)", flags), "$1<redacted>"},
        {std::regex(R"((sha256:)[0-9a-f]{16,})", flags), "$1<redacted>"},
        {std::regex(R"(\b(sk|hk)-[A-Za-z0-9_-]{16,})", flags), kRedacted},
        {std::regex(R"(((?:secret|password|token|authorization|api[_-]?key)["']?\s*[=:]\s*["']?))"
                    R"((?!bearer|<redacted>)[^\s"',}]+)",
                    flags),
         "$1<redacted>"},
    }};
    return all;
}

// A long line, such as a JSON object, is looked at in pieces that end behind a comma.
std::size_t piece_end(const std::string& line, std::size_t begin) {
    if (line.size() - begin <= kPieceBytesMax) return line.size();
    const std::size_t comma = line.rfind(',', begin + kPieceBytesMax - 1);
    const bool found = comma != std::string::npos && comma >= begin;
    return found ? comma + 1 : begin + kPieceBytesMax;
}

std::string without_patterns(std::string piece) {
    for (const Pattern& pattern : patterns())
        piece = std::regex_replace(piece, pattern.regex, pattern.replacement);
    return piece;
}

}  // namespace

void Redactor::add(const std::string& secret) {
    if (secret.size() >= kSecretBytesMin) secrets_.push_back(secret);
}

std::string Redactor::clean(const std::string& text) const {
    std::string out;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) {
        for (const std::string& secret : secrets_)
            for (std::size_t at = line.find(secret); at != std::string::npos;
                 at = line.find(secret, at))
                line.replace(at, secret.size(), kRedacted);
        for (std::size_t begin = 0; begin < line.size();) {
            const std::size_t end = piece_end(line, begin);
            out += without_patterns(line.substr(begin, end - begin));
            begin = end;
        }
        out += "\n";
    }
    return out;
}

}  // namespace hearth::cli
