// Checks what the compiler does not: who may include whom, where each third-party header may be
// seen, how long lines, functions and files may be, and words that are banned. Usage: tidy_test
// ROOT. Prints a line for each finding; exits 1 if there is any, or if a rule has gone blind.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kColumnsMax = 100;
constexpr std::size_t kFunctionLinesMax = 70;
constexpr std::size_t kFileLinesMax = 600;
constexpr std::size_t kFilesMin = 100;  // Fewer, and the root was wrong.

using Prefixes = std::vector<std::string_view>;

// A room and what it may include: "a/b/" is all that lies there, "a/b" the files of that folder
// alone. The longest prefix that fits a path is its room.
struct Room {
    std::string_view prefix;
    Prefixes may_include;
};
const std::vector<Room> kRooms = {
    {"common/base/", {"common/base/"}},
    {"common/config/", {"common/config/", "common/base/"}},
    {"common/metrics/", {"common/metrics/", "common/base/"}},
    {"common/net/", {"common/net/", "common/base/"}},
    {"common/wire/", {"common/wire/", "common/base/"}},
    {"common/redis/", {"common/redis/", "common/wire/", "common/net/", "common/base/"}},
    {"engine/", {"engine", "engine/model/", "common/base/"}},
    {"engine/model/", {"engine/model/", "common/base/"}},
    {"engine/text/", {"engine/text/", "engine/model/", "common/base/"}},
    {"engine/formats/", {"engine/formats/", "engine/model/", "common/base/"}},
    {"engine/kernels/", {"engine/kernels/", "engine/model/", "engine", "common/base/"}},
    {"engine/kernels/ref/",
     {"engine/kernels/ref/", "engine/kernels", "engine/model/", "common/base/"}},
    {"engine/kernels/cpu/",
     {"engine/kernels/cpu/", "engine/kernels", "engine/model/", "common/base/"}},
    {"engine/kernels/cuda/",
     {"engine/kernels/cuda/", "engine/kernels", "engine/model/", "common/base/"}},
    {"cachenode/", {"cachenode/", "engine/", "common/"}},
    {"router/", {"router/", "common/"}},
    {"cli/", {"cli/", "router/", "cachenode/", "engine/", "common/"}},
    {"tests/", {"tests/", "cli/", "router/", "cachenode/", "engine/", "common/"}},
};

// A third-party header and its homes. The longest prefix that fits a header decides.
struct Home {
    std::string_view header;
    Prefixes homes;
};
const std::vector<Home> kHomes = {
    {"boost/", {}},
    {"boost/asio", {"common/net/", "tests/common/net/"}},
    {"boost/beast", {"common/net/", "tests/common/net/"}},
    {"boost/json",
     {"common/wire/", "engine/formats/", "cachenode/api/", "router/admin/", "router/trace/",
      "cli/", "tests/"}},
    {"hiredis/", {"common/redis/"}},
    {"prometheus/", {"common/metrics/"}},
    {"yaml-cpp/", {"common/config/"}},
    {"CLI/", {"common/config/", "cli/"}},
    {"openssl/", {"common/wire/", "common/net/", "tests/support/"}},
    {"xxhash.h", {"cachenode/kv/", "engine/formats/"}},
    {"xxh_x86dispatch.h", {"cachenode/kv/"}},
    {"utf8proc.h", {"engine/text/"}},
    {"zmq.h", {"cachenode/publish/", "tests/cachenode/publish/"}},
    {"cuda", {"engine/kernels/cuda/"}},
    {"cublas", {"engine/kernels/cuda/"}},
    {"mma.h", {"engine/kernels/cuda/"}},
    {"cooperative_groups", {"engine/kernels/cuda/"}},
    {"cub/", {"engine/kernels/cuda/"}},
    {"thrust/", {"engine/kernels/cuda/"}},
    {"immintrin.h", {"engine/kernels/cpu/"}},
    {"x86intrin.h", {"engine/kernels/cpu/"}},
    {"arm_neon.h", {"engine/kernels/cpu/"}},
    {"gtest/", {"tests/"}},
    {"gmock/", {"tests/"}},
};

// A word that may stand nowhere in code but under `except`.
struct Ban {
    std::string_view word;
    Prefixes except;
    std::string_view instead;
};
const std::vector<Ban> kBans = {
    {"getenv(", {"common/config/"}, "a setting (common/config)"},
    {"system_clock", {"common/base/clock.h", "common/base/base.cpp"}, "a Clock&"},
    {"steady_clock", {"common/base/clock.h", "common/base/base.cpp"}, "a Clock&"},
    {"clock_type::now", {}, "a Clock&"},
    {"sleep_for(", {}, "a condition with a deadline, or the manual clock"},
    {"sleep_until(", {}, "a condition with a deadline, or the manual clock"},
    {"usleep(", {}, "a condition with a deadline, or the manual clock"},
    {"nanosleep(", {}, "a condition with a deadline, or the manual clock"},
    {"clock_gettime(", {"common/base/base.cpp"}, "a Clock&"},
    {"gettimeofday(", {}, "a Clock&"},
    {"asio::detached", {}, "a parent that waits for it"},
    {".detach()", {}, "a thread that someone joins"},
};

// In code and comments alike.
const std::regex kUnfinished(R"(\b(FIXME|TODO|XXX)\b)");

const std::regex kBannedName(
    R"((class|struct|enum|union) [A-Za-z0-9_ :]*(Manager|Helper|Utils?|Impl|Wrapper|Data|Info)\b)");

struct Finding {
    std::string path;
    std::size_t line;
    std::string what;
};

struct Source {
    std::string path;  // From the root, with '/'.
    std::vector<std::string> lines;
};

bool has_prefix(std::string_view path, const Prefixes& prefixes) {
    return std::any_of(prefixes.begin(), prefixes.end(),
                       [path](std::string_view prefix) { return path.starts_with(prefix); });
}

bool admits(const Prefixes& may_include, std::string_view header) {
    const std::string_view folder = header.substr(0, header.rfind('/'));
    return std::any_of(may_include.begin(), may_include.end(), [=](std::string_view entry) {
        return entry.ends_with('/') ? header.starts_with(entry) : folder == entry;
    });
}

// The entry whose `key` is the longest prefix of `text`, or null.
template <typename T>
const T* longest(const std::vector<T>& entries, std::string_view T::*key, std::string_view text) {
    const T* best = nullptr;
    for (const T& entry : entries)
        if (text.starts_with(entry.*key) && (!best || (entry.*key).size() > (best->*key).size()))
            best = &entry;
    return best;
}

std::size_t columns(std::string_view line) {
    return static_cast<std::size_t>(std::count_if(line.begin(), line.end(), [](char c) {
        return (static_cast<unsigned char>(c) & 0xc0) != 0x80;  // Not inside a UTF-8 character.
    }));
}

void check_include(const std::string& path, const std::string& line, std::size_t number,
                   std::vector<Finding>& out) {
    static const std::regex kInclude(R"re(^\s*#\s*include\s*(["<])([^">]+)[">])re");
    std::smatch match;
    if (!std::regex_search(line, match, kInclude)) return;
    const std::string header = match[2];
    if (match[1] == "\"") {
        const Room* room = longest(kRooms, &Room::prefix, path);
        if (room && !admits(room->may_include, header))
            out.push_back({path, number, std::string(room->prefix) + " may not include " + header});
        return;
    }
    const Home* home = longest(kHomes, &Home::header, header);
    if (home && !has_prefix(path, home->homes))
        out.push_back({path, number, "<" + header + "> is not at home here"});
}

void check_line(const std::string& path, const std::string& line, std::size_t number,
                std::vector<Finding>& out) {
    check_include(path, line, number, out);
    if (columns(line) > kColumnsMax) out.push_back({path, number, "line over 100 columns"});
    if (line.find('\t') != std::string::npos) out.push_back({path, number, "tab"});
    if (line.ends_with(' ')) out.push_back({path, number, "space at the end of the line"});
    if (path == "tests/tidy_test.cpp") return;  // It names what it bans.
    const std::string code = line.substr(0, line.find("//"));
    for (const Ban& ban : kBans) {
        if (has_prefix(path, ban.except)) continue;
        if (code.find(ban.word) == std::string::npos) continue;
        out.push_back(
            {path, number,
             "'" + std::string(ban.word) + "' is banned; use " + std::string(ban.instead)});
    }
    std::smatch match;
    if (std::regex_search(line, match, kUnfinished))
        out.push_back({path, number, match.str() + " is banned; do it, or open an issue"});
    if (std::regex_search(code, match, kBannedName))
        out.push_back({path, number, "a name that says nothing: " + match.str()});
}

// For each line, whether it begins inside a raw string: text, whatever it looks like.
std::vector<bool> raw_lines(const std::vector<std::string>& lines) {
    static const std::regex kOpening(R"re(\bR"([^()\\ ]{0,16})\()re");
    std::vector<bool> raw;
    std::string closing;  // Of the raw string that is open.
    for (const std::string& line : lines) {
        raw.push_back(!closing.empty());
        for (std::size_t at = 0; at != std::string::npos;) {
            if (!closing.empty()) {
                at = line.find(closing, at);
                if (at == std::string::npos) break;
                at += closing.size();
                closing.clear();
            }
            std::smatch match;
            const auto rest = line.begin() + static_cast<std::ptrdiff_t>(at);
            if (!std::regex_search(rest, line.end(), match, kOpening)) break;
            at += static_cast<std::size_t>(match.position() + match.length());
            closing = ")" + match[1].str() + "\"";
        }
    }
    return raw;
}

// With our clang-format a function opens on an unindented line (or four spaces in, in a class), and
// ends with a line that holds only '}' at the same depth.
void check_functions(const Source& source, std::size_t indent, std::vector<Finding>& out) {
    const std::vector<bool> raw = raw_lines(source.lines);
    const std::string spaces(indent, ' '), end = spaces + "}";
    std::size_t open = 0;
    bool has_parameters = false;
    for (std::size_t i = 0; i < source.lines.size(); ++i) {
        const std::string& line = source.lines[i];
        if (raw[i]) continue;
        if (line == end) {
            const std::size_t length = i - open + 1;
            if (has_parameters && length > kFunctionLinesMax)
                out.push_back(
                    {source.path, open + 1, "function of " + std::to_string(length) + " lines"});
            has_parameters = false;
            continue;
        }
        const bool starts_here = line.size() > indent && line.starts_with(spaces) &&
                                 std::string_view(" #/}").find(line[indent]) == std::string::npos;
        if (!starts_here || line.find("namespace ") == indent) continue;
        open = i;
        has_parameters = line.find('(') != std::string::npos;
    }
}

void check_source(const Source& source, std::vector<Finding>& out) {
    const std::string& path = source.path;
    const std::string extension = fs::path(path).extension();
    const std::string name = fs::path(path).stem();
    if (source.lines.size() > kFileLinesMax)
        out.push_back({path, 1, "file of " + std::to_string(source.lines.size()) + " lines"});
    if (source.lines.empty() || !source.lines[0].starts_with("// ") || source.lines[0].size() < 20)
        out.push_back({path, 1, "the first line must say what the file is for"});
    const bool header = extension == ".h" || extension == ".cuh";
    if (header &&
        std::find(source.lines.begin(), source.lines.end(), "#pragma once") == source.lines.end())
        out.push_back({path, 1, "header without #pragma once"});
    if (name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") != std::string::npos)
        out.push_back({path, 1, "file names are snake_case"});
    const bool cuda = extension == ".cu" || extension == ".cuh";
    if (cuda && !path.starts_with("engine/kernels/cuda/"))
        out.push_back({path, 1, "CUDA lives in engine/kernels/cuda"});
    for (std::size_t i = 0; i < source.lines.size(); ++i)
        check_line(path, source.lines[i], i + 1, out);
    check_functions(source, 0, out);
    check_functions(source, 4, out);
}

std::vector<Source> read_sources(const fs::path& root) {
    std::vector<Source> sources;
    for (const char* room : {"common", "engine", "cachenode", "router", "cli", "tests"}) {
        if (!fs::exists(root / room)) continue;
        for (const auto& entry : fs::recursive_directory_iterator(root / room)) {
            const std::string extension = entry.path().extension();
            if (extension != ".h" && extension != ".cpp" && extension != ".cu" &&
                extension != ".cuh")
                continue;
            Source source{fs::relative(entry.path(), root).generic_string(), {}};
            std::ifstream in(entry.path());
            for (std::string line; std::getline(in, line);) source.lines.push_back(line);
            sources.push_back(std::move(source));
        }
    }
    std::sort(sources.begin(), sources.end(),
              [](const Source& a, const Source& b) { return a.path < b.path; });
    return sources;
}

// A rule that finds nothing may have gone blind: each is shown a line that it must refuse (or let
// pass, where `expected` is empty).
struct Sample {
    std::string path, line, expected;
};
std::vector<Sample> samples() {
    return {
        {"common/base/x.h", "#include \"common/net/asio.h\"", "may not include"},
        {"common/redis/x.h", "#include \"common/config/options.h\"", "may not include"},
        {"common/redis/x.h", "#include \"common/net/asio.h\"", ""},
        {"engine/x.h", "#include \"common/wire/records.h\"", "may not include"},
        {"engine/x.h", "#include \"common/base/check.h\"", ""},
        {"engine/x.h", "#include \"engine/text/utf8.h\"", "may not include"},
        {"engine/model/x.h", "#include \"engine/engine.h\"", "may not include"},
        {"engine/formats/x.h", "#include \"engine/text/utf8.h\"", "may not include"},
        {"engine/text/x.h", "#include \"engine/kernels/ops.h\"", "may not include"},
        {"engine/kernels/x.h", "#include \"engine/kernels/cpu/isa.h\"", ""},
        {"engine/kernels/x.h", "#include \"engine/engine.h\"", ""},
        {"engine/kernels/ref/x.h", "#include \"engine/kernels/cpu/isa.h\"", "may not include"},
        {"engine/kernels/ref/x.h", "#include \"engine/kernels/ops.h\"", ""},
        {"engine/kernels/cuda/x.cuh", "#include <boost/json.hpp>", "not at home"},
        {"engine/kernels/cuda/x.cuh", "#include <cuda_runtime.h>", ""},
        {"common/wire/x.h", "#include \"common/redis/reply.h\"", "may not include"},
        {"router/x.h", "#include \"cachenode/config.h\"", "may not include"},
        {"cachenode/x.h", "#include \"router/config.h\"", "may not include"},
        {"router/x.h", "#include \"config.h\"", "may not include"},
        {"cli/x.h", "#include \"router/config.h\"", ""},
        {"router/x.h", "#include <boost/asio/post.hpp>", "not at home"},
        {"router/x.h", "#include <boost/json.hpp>", "not at home"},
        {"cli/x.h", "#include <boost/json.hpp>", ""},
        {"common/net/x.h", "#include <boost/algorithm/hex.hpp>", "not at home"},
        {"engine/x.h", "#  include <cuda_runtime.h>", "not at home"},
        {"engine/kernels/ref/x.h", "#include <immintrin.h>", "not at home"},
        {"cachenode/x.h", "#include <hiredis/hiredis.h>", "not at home"},
        {"engine/x.h", "#include <cstdint>", ""},
        {"router/x.h", "auto p = getenv(\"A\");", "is banned"},
        {"tests/x.h", "std::this_thread::sleep_for(1s);", "is banned"},
        {"tests/x.h", "// never sleep_for(1s)", ""},
        {"router/x.h", "auto t = std::chrono::steady_clock::now();", "is banned"},
        {"router/x.h", "int x;  // TODO later", "is banned"},
        {"router/x.h", "int x;  // XXX", "is banned"},
        {"router/x.h", "auto x = \"hearth-XXXXXX\";", ""},
        {"router/x.h", "class NodeManager {", "says nothing"},
        {"router/x.h", "enum class NodeState {", ""},
        {"router/x.h", "std::string x = \"" + std::string(90, 'x') + "\";", "100 columns"},
        {"router/x.h", "std::string x;  // " + std::string(160, '\xa9'), ""},
        {"router/x.h", "int x; ", "end of the line"},
        {"router/x.cu", "int x;", "CUDA lives"},
        {"router/BadName.h", "int x;", "snake_case"},
    };
}

// True if every rule still sees.
bool rules_work() {
    bool good = true;
    const auto expect = [&good](const Source& source, const std::string& expected) {
        std::vector<Finding> found;
        check_source(source, found);
        const bool right = expected.empty() ? found.empty()
                                            : found.size() == 1 &&
                                                  found[0].what.find(expected) != std::string::npos;
        if (right) return;
        good = false;
        std::printf("tidy_test itself: '%s' wanted for %s: %s\n", expected.c_str(),
                    source.path.c_str(), source.lines.back().c_str());
        for (const Finding& finding : found) std::printf("  found: %s\n", finding.what.c_str());
    };
    const std::vector<std::string> top = {"// A file of a test of a test.", "#pragma once"};
    for (const Sample& sample : samples()) {
        Source source{sample.path, top};
        source.lines.push_back(sample.line);
        expect(source, sample.expected);
    }
    for (const std::size_t indent : {0u, 4u}) {
        const std::string spaces(indent, ' ');
        Source source{"router/x.h", top};
        source.lines.push_back(spaces + "int f() {");
        for (std::size_t i = 0; i < kFunctionLinesMax - 2; ++i)
            source.lines.push_back(spaces + "    g();");
        source.lines.push_back(spaces + "}");
        expect(source, "");
        source.lines.insert(source.lines.end() - 1, spaces + "    g();");
        expect(source, "function of 71 lines");
        // Text of a raw string looks like the head of another function.
        source.lines[4] = spaces + "    g(R\"x(";
        source.lines[5] = spaces + "int h() { return 0 }";
        source.lines[6] = spaces + "}";
        source.lines[7] = spaces + ")x\");";
        expect(source, "function of 71 lines");
    }
    Source huge{"router/x.h", top};
    huge.lines.resize(kFileLinesMax + 1);
    expect(huge, "file of 601 lines");
    expect({"router/x.h", {"#pragma once"}}, "first line");
    expect({"router/x.h", {"// A file of a test of a test."}}, "#pragma once");
    return good;
}

}  // namespace

int main(int argc, char** argv) {
    if (!rules_work()) return 1;
    const std::vector<Source> sources = read_sources(argc > 1 ? argv[1] : ".");
    std::vector<Finding> findings;
    for (const Source& source : sources) check_source(source, findings);
    for (const Finding& finding : findings)
        std::printf("%s:%zu: %s\n", finding.path.c_str(), finding.line, finding.what.c_str());
    std::printf("%zu files, %zu findings\n", sources.size(), findings.size());
    if (sources.size() < kFilesMin) std::printf("too few files: is the root right?\n");
    return findings.empty() && sources.size() >= kFilesMin ? 0 : 1;
}
