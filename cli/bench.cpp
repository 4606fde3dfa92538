// hearth bench: runs one of the benchmark programs that lie beside this one.
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cli/commands.h"

namespace hearth::cli {
namespace {

namespace fs = std::filesystem;

// Does not return if the program could be started: it takes this one's place.
int run_bench(const std::string& name, const std::vector<std::string>& arguments) {
    std::error_code failed;
    const fs::path self = fs::read_symlink("/proc/self/exe", failed);
    const std::string program = self.parent_path() / (name + "_bench");
    std::vector<char*> words = {const_cast<char*>(program.c_str())};
    for (const std::string& word : arguments) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    ::execv(program.c_str(), words.data());
    std::fprintf(stderr, "hearth bench: cannot run %s: %s; ./dev bench %s builds it\n",
                 program.c_str(), std::strerror(errno), name.c_str());
    return 1;
}

}  // namespace

void add_bench(CLI::App& app, int& exit_code) {
    auto* bench =
        app.add_subcommand("bench", "Measure: router, placement, engine, chat, KV, transfer");
    const auto name = std::make_shared<std::string>();
    bench
        ->add_option("NAME", *name,
                     "What to measure: router, placement, engine, chat, kv, transfer")
        ->required()
        ->check(CLI::IsMember({"router", "placement", "engine", "chat", "kv", "transfer"}));
    bench->prefix_command();  // The rest of the line is the benchmark's.
    bench->footer(
        "Examples:\n"
        "  hearth bench router                  a table, about two minutes\n"
        "  hearth bench router --json --seconds 30\n"
        "  hearth bench engine --model 1.1b --threads 2 --decode 1,16 --json\n"
        "  hearth bench chat --sessions 16 --turns 8 --peer-url http://127.0.0.1:8090");
    bench->callback(
        [&exit_code, bench, name] { exit_code = run_bench(*name, bench->remaining()); });
}

}  // namespace hearth::cli
