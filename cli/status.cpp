// hearth status: who is up, how loaded, how warm; from the router's admin listener.
#include <boost/json.hpp>
#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/run_task.h"
#include "cli/server_url.h"
#include "common/net/http_client.h"

namespace hearth::cli {
namespace {

namespace json = boost::json;

struct StatusFlags {
    std::string admin = "127.0.0.1:8081";
    std::string cacert;
    bool json = false;
};

double number_at(const json::object& object, const char* key) {
    const auto* value = object.if_contains(key);
    if (!value) return 0;
    if (value->is_double()) return value->as_double();
    if (value->is_int64()) return static_cast<double>(value->as_int64());
    return value->is_uint64() ? static_cast<double>(value->as_uint64()) : 0;
}

std::string text_at(const json::object& object, const char* key) {
    const auto* value = object.if_contains(key);
    return value && value->is_string() ? std::string(value->as_string()) : std::string("-");
}

std::string percent(double part, double whole) {
    if (whole <= 0) return "-";
    char text[32];
    std::snprintf(text, sizeof(text), "%.1f%%", 100 * part / whole);
    return text;
}

void print_table(const json::object& answer) {
    std::printf("%-14s %-22s %-9s %-8s %7s %7s %14s %9s %9s\n", "node", "address", "state",
                "healthy", "running", "waiting", "KV MiB", "hit rate", "tokens");
    const auto* nodes = answer.if_contains("nodes");
    if (!nodes || !nodes->is_array()) return;
    double reused = 0, reusable = 0;
    for (const json::value& entry : nodes->as_array()) {
        if (!entry.is_object()) continue;
        const json::object& n = entry.as_object();
        const auto* healthy = n.if_contains("healthy");
        char kv[32];
        std::snprintf(kv, sizeof(kv), "%.0f/%.0f", number_at(n, "kv_bytes_used") / (1 << 20),
                      number_at(n, "kv_bytes_max") / (1 << 20));
        std::printf("%-14s %-22s %-9s %-8s %7.0f %7.0f %14s %9s %9.0f\n", text_at(n, "id").c_str(),
                    text_at(n, "address").c_str(), text_at(n, "state").c_str(),
                    healthy && healthy->is_bool() && healthy->as_bool() ? "yes" : "no",
                    number_at(n, "running"), number_at(n, "waiting"), kv,
                    percent(number_at(n, "reused_tokens"), number_at(n, "reusable_tokens")).c_str(),
                    number_at(n, "prompt_tokens"));
        reused += number_at(n, "reused_tokens");
        reusable += number_at(n, "reusable_tokens");
    }
    const auto* directory = answer.if_contains("directory_up");
    std::printf(
        "fleet: inter-turn hit rate %s; metadata store %s\n", percent(reused, reusable).c_str(),
        directory && directory->is_bool() && directory->as_bool() ? "up" : "down or not used");
}

Task<int> status(asio::io_context& io, StatusFlags flags) {
    auto url = server_url(flags.admin, flags.cacert);
    if (!url) {
        std::fprintf(stderr, "hearth status: --admin: %s\n", url.error().message.c_str());
        co_return 2;
    }
    HttpClient client(io, url->client);
    auto answer = co_await client.call(url->host_port, "GET", "/admin/v1/nodes", {}, {},
                                       std::chrono::milliseconds(5'000));
    if (!answer || answer->status != 200) {
        std::fprintf(stderr, "hearth status: %s://%s/admin/v1/nodes: %s\n", url->scheme.c_str(),
                     url->host_port.c_str(),
                     answer ? ("HTTP " + std::to_string(answer->status)).c_str()
                            : answer.error().message.c_str());
        co_return 1;
    }
    boost::system::error_code failed;
    const json::value value = json::parse(answer->body, failed);
    if (failed || !value.is_object()) {
        std::fprintf(stderr, "hearth status: the answer is not a JSON object\n");
        co_return 1;
    }
    if (flags.json)
        std::printf("%s\n", json::serialize(value).c_str());
    else
        print_table(value.as_object());
    co_return 0;
}

}  // namespace

void add_status(CLI::App& app, int& exit_code) {
    auto flags = std::make_shared<StatusFlags>();
    CLI::App* sub = app.add_subcommand("status", "Nodes, load and hit rate of a fleet");
    sub->add_option("--admin", flags->admin, "Admin listener of a router, host:port or URL")
        ->capture_default_str();
    sub->add_option("--cacert", flags->cacert,
                    "PEM file of whom to trust for https; default: the system's");
    sub->add_flag("--json", flags->json, "The router's answer as JSON");
    sub->footer("Example:\n  hearth status --admin 127.0.0.1:8081");
    sub->callback([flags, &exit_code] {
        asio::io_context io;
        exit_code = run_task(io, status(io, *flags));
    });
}

}  // namespace hearth::cli
