// HTTP and JSON between the subcommands and a router's admin listener.
#include "cli/admin_client.h"

#include <boost/json.hpp>
#include <cstdio>

#include "cli/run_task.h"
#include "cli/server_url.h"
#include "common/config/environment.h"
#include "common/net/http_client.h"
#include "common/wire/json_text.h"

namespace hearth::cli {

namespace json = boost::json;

void add_admin_flags(CLI::App& sub, AdminFlags& flags) {
    if (const std::string place = environment("HEARTH_ADMIN"); !place.empty()) flags.admin = place;
    sub.add_option("--admin", flags.admin,
                   "Admin listener of a router, host:port or URL ($HEARTH_ADMIN)")
        ->capture_default_str();
    sub.add_option("--cacert", flags.cacert,
                   "PEM file of whom to trust for https; default: the system's");
    sub.add_flag("--json", flags.json, "The answer as JSON");
}

namespace {

// What the caller asked for in a wrong way; all else is the router's or the world's.
ErrorCode code_of(int status) {
    const bool wrong = status == 400 || status == 404 || status == 409 || status == 422;
    return wrong ? ErrorCode::kInvalidArgument : ErrorCode::kUnavailable;
}

std::string refusal(int status, const json::object& error, const std::string& place) {
    std::string said = text_at(error, "message");
    if (text_at(error, "code") == "unknown_url")
        said = place + " is no admin listener; --admin says where that is";
    if (status == 401) said += "; the token comes from $HEARTH_ADMIN_TOKEN";
    return said;
}

}  // namespace

Task<Result<json::object>> ask(asio::io_context& io, AdminFlags flags, Question question) {
    const auto url = server_url(flags.admin, flags.cacert);
    if (!url) co_return make_error(ErrorCode::kInvalidArgument, "--admin: " + url.error().message);
    HttpClient client(io, url->client);
    HeaderList headers;
    if (const std::string token = environment("HEARTH_ADMIN_TOKEN"); !token.empty())
        headers.emplace_back("authorization", "Bearer " + token);
    auto answer = co_await client.call(url->host_port, question.method, question.target, headers,
                                       question.body, std::chrono::milliseconds(10'000));
    if (!answer)
        co_return make_error(
            answer.error().code,
            answer.error().message + "; --admin says where a router's admin listener is");
    boost::system::error_code failed;
    const json::value value = json::parse(answer->body, failed);
    const bool object = !failed && value.is_object();
    const json::value* error = object ? value.as_object().if_contains("error") : nullptr;
    if (error != nullptr && error->is_object())
        co_return make_error(code_of(answer->status),
                             refusal(answer->status, error->as_object(), flags.admin));
    if (answer->status != 200 || !object)
        co_return make_error(ErrorCode::kUnavailable,
                             url->scheme + "://" + url->host_port + question.target + ": HTTP " +
                                 std::to_string(answer->status) + ", no JSON object");
    co_return value.as_object();
}

namespace {

Task<int> show_answer(asio::io_context& io, std::string command, AdminFlags flags,
                      Question question, std::function<void(const json::object&)> show) {
    const auto answer = co_await ask(io, flags, std::move(question));
    if (!answer) {
        std::fprintf(stderr, "hearth %s: %s\n", command.c_str(), answer.error().message.c_str());
        co_return answer.error().code == ErrorCode::kInvalidArgument ? 2 : 1;
    }
    if (flags.json)
        std::printf("%s\n", json_text(*answer).c_str());
    else
        show(*answer);
    co_return 0;
}

}  // namespace

int ask_and_show(const std::string& command, const AdminFlags& flags, const Question& question,
                 const std::function<void(const json::object&)>& show) {
    asio::io_context io;
    return run_task(io, show_answer(io, command, flags, question, show));
}

std::string percent_encoded(const std::string& text) {
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        const bool plain = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                           (byte >= '0' && byte <= '9') || c == '-' || c == '.' || c == '_' ||
                           c == '~';
        if (plain) {
            out += c;
            continue;
        }
        out += '%';
        out += kDigits[byte >> 4];
        out += kDigits[byte & 15];
    }
    return out;
}

std::string text_at(const json::object& object, const char* key) {
    const json::value* value = object.if_contains(key);
    if (value == nullptr || value->is_null()) return "-";
    return value->is_string() ? std::string(value->as_string()) : json_text(*value);
}

double number_at(const json::object& object, const char* key) {
    const json::value* value = object.if_contains(key);
    if (value == nullptr) return 0;
    if (value->is_double()) return value->as_double();
    if (value->is_int64()) return static_cast<double>(value->as_int64());
    return value->is_uint64() ? static_cast<double>(value->as_uint64()) : 0;
}

}  // namespace hearth::cli
