// hearth: the operator's and newcomer's tool. This file only wires the subcommands together.
#include <cstdio>
#include <exception>

#include "cli/commands.h"
#include "cli/usage_error.h"
#include "common/config/version.h"

namespace {

// A pipe that was closed or a disk that is full must not look like success.
int finish(int exit_code) {
    const bool written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
    if (written) return exit_code;
    std::fprintf(stderr, "hearth: the output could not be written\n");
    return exit_code == 0 ? 1 : exit_code;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Hearth keeps every conversation warm: a sticky-session router and KV-cache tier.",
                 "hearth");
    app.require_subcommand(1);
    app.set_version_flag("--version", "hearth " + hearth::version());
    app.footer(
        "Examples:\n"
        "  hearth up --nodes 3 --model smollm2      a whole fleet in one process\n"
        "  hearth chat --router 127.0.0.1:8080      talk to it\n"
        "  hearth status --admin 127.0.0.1:8081     who is up, and what the hit rate is\n"
        "  hearth explain chat-42 --source header   where its next turn goes, and why\n"
        "  hearth drain node-2 --wait               take a node out of service\n"
        "  hearth replay --router 127.0.0.1:8080 --chats chats.jsonl\n"
        "Each subcommand has its own --help. Exit codes: 0 ok, 1 failed, 2 usage or settings.");

    int exit_code = 0;
    hearth::cli::add_up(app, exit_code);
    hearth::cli::add_chat(app, exit_code);
    hearth::cli::add_status(app, exit_code);
    hearth::cli::add_top(app, exit_code);
    hearth::cli::add_nodes(app, exit_code);
    hearth::cli::add_replay(app, exit_code);
    hearth::cli::add_model(app, exit_code);
    hearth::cli::add_key(app, exit_code);
    hearth::cli::add_bench(app, exit_code);
    hearth::cli::add_explain(app, exit_code);
    hearth::cli::add_sessions(app, exit_code);
    hearth::cli::add_what_if(app, exit_code);
    hearth::cli::add_config(app, exit_code);
    hearth::cli::add_log_level(app, exit_code);
    hearth::cli::add_drain(app, exit_code);
    hearth::cli::add_plan(app, exit_code);
    hearth::cli::add_diff_prompt(app, exit_code);
    hearth::cli::add_support_bundle(app, exit_code);
    hearth::cli::add_completion(app, exit_code);
    hearth::cli::add_docs(app, exit_code);
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& e) {  // --help, --version
        app.exit(e);
        return finish(0);
    } catch (const CLI::ParseError& e) {
        std::fprintf(stderr, "%s\n", hearth::cli::usage_error(app, e).c_str());
        return 2;
    } catch (const std::exception& e) {
        std::fprintf(stderr, "hearth: stopped by an unexpected failure: %s\n", e.what());
        return 1;
    }
    return finish(exit_code);
}
