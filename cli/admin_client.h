// AdminClient: one question to a router's admin API, for the subcommands that ask.
#pragma once

#include <CLI/CLI.hpp>
#include <boost/json/object.hpp>
#include <functional>
#include <string>

#include "common/base/result.h"
#include "common/net/asio.h"

namespace hearth::cli {

struct AdminFlags {
    std::string admin = "127.0.0.1:8081";  // Or $HEARTH_ADMIN.
    std::string cacert;
    bool json = false;
};

// --admin, --cacert and --json. The token comes from $HEARTH_ADMIN_TOKEN: of a flag other users
// could see it.
void add_admin_flags(CLI::App& sub, AdminFlags& flags);

struct Question {
    std::string method = "GET";
    std::string target;
    std::string body = {};
};
// The answer's object. Errors name the address, and what the router said.
Task<Result<boost::json::object>> ask(asio::io_context& io, AdminFlags flags, Question question);

// Asks once and shows the answer: as it came with --json, else with `show`. Returns the exit code.
int ask_and_show(const std::string& command, const AdminFlags& flags, const Question& question,
                 const std::function<void(const boost::json::object&)>& show);

// For a path or a query: everything but letters, digits, '-', '.', '_' and '~' as %XX.
std::string percent_encoded(const std::string& text);

// Members of an answer as table cells; "-" when absent or null.
std::string text_at(const boost::json::object& object, const char* key);
double number_at(const boost::json::object& object, const char* key);

}  // namespace hearth::cli
