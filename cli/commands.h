// The subcommands of `hearth`: each adds itself to the command line and says what to run.
#pragma once

#include <CLI/CLI.hpp>

namespace hearth::cli {

// Each sets a callback on its subcommand that stores the exit code (0 ok, 1 failed, 2 usage) in
// `exit_code`. The App outlives the callbacks.
void add_up(CLI::App& app, int& exit_code);
void add_chat(CLI::App& app, int& exit_code);
void add_status(CLI::App& app, int& exit_code);
void add_nodes(CLI::App& app, int& exit_code);
void add_replay(CLI::App& app, int& exit_code);
void add_model(CLI::App& app, int& exit_code);
void add_key(CLI::App& app, int& exit_code);
void add_bench(CLI::App& app, int& exit_code);
void add_explain(CLI::App& app, int& exit_code);
void add_sessions(CLI::App& app, int& exit_code);
void add_what_if(CLI::App& app, int& exit_code);
void add_config(CLI::App& app, int& exit_code);
void add_log_level(CLI::App& app, int& exit_code);
void add_drain(CLI::App& app, int& exit_code);  // And undrain.
void add_top(CLI::App& app, int& exit_code);
void add_plan(CLI::App& app, int& exit_code);
void add_diff_prompt(CLI::App& app, int& exit_code);
void add_support_bundle(CLI::App& app, int& exit_code);
void add_completion(CLI::App& app, int& exit_code);
void add_docs(CLI::App& app, int& exit_code);

}  // namespace hearth::cli
