// usage_error: one line for words on the command line that no subcommand understands.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace hearth::cli {

// "hearth up: unknown flag --modle, did you mean --model?": names the subcommand that was reached,
// the word, and what is nearest to it. `error` is what parsing `app` has thrown.
std::string usage_error(const CLI::App& app, const CLI::ParseError& error);

}  // namespace hearth::cli
