// hearth drain --self: the drain of the node that runs in the same container, for a preStop hook.
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "cli/drain_progress.h"
#include "cli/server_url.h"
#include "cli/turn_client.h"
#include "common/wire/json_text.h"

namespace hearth::cli {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

// The kernel keeps 15 letters of a program's name.
constexpr std::string_view kProgram = "hearth-cachenod";

bool is_node(const fs::path& process) {
    std::string name;
    std::getline(std::ifstream(process / "comm"), name);
    return name == kProgram;
}

// The only cache node that this user runs, by what /proc says.
Result<int> only_node() {
    int found = 0;
    std::error_code failed;
    for (const fs::directory_entry& entry : fs::directory_iterator("/proc", failed)) {
        const std::string pid = entry.path().filename();
        struct stat owner {};
        if (pid.find_first_not_of("0123456789") != std::string::npos || !is_node(entry.path()))
            continue;
        if (::stat(entry.path().c_str(), &owner) != 0 || owner.st_uid != ::geteuid()) continue;
        if (found != 0)
            return make_error(ErrorCode::kInvalidArgument,
                              "several nodes run here: say --pid and --node-url");
        found = std::stoi(pid);
    }
    if (found == 0) return make_error(ErrorCode::kNotFound, "no hearth-cachenode runs here");
    return found;
}

Result<Left> left_of(const Result<HttpClient::Answer>& answer, const std::string& place) {
    if (!answer)
        return make_error(answer.error().code,
                          answer.error().message + "; --node-url says where the node listens");
    const std::string& text = answer->body;
    if (answer->status != 200 || text.find("hearth_node_state") == std::string::npos)
        return make_error(ErrorCode::kInvalidArgument, place + " is no cache node");
    Left left;
    left.turns = metric_sum(text, "hearth_engine_requests_running") +
                 metric_sum(text, "hearth_engine_requests_waiting");
    left.sessions = metric_sum(text, "hearth_cache_sessions");
    left.hands_over = true;
    left.has_heard = metric_sum(text, "hearth_node_state", "state=\"draining\"") > 0;
    return left;
}

// Until no turn runs and its sessions are with their heirs, or no more of them will be.
Task<Result<Left>> wait_for_rest(asio::io_context& io, const SelfFlags& flags) {
    auto url = server_url(flags.place, flags.cacert);
    if (!url)
        co_return make_error(ErrorCode::kInvalidArgument, "--node-url: " + url.error().message);
    HttpClient client(io, url->client);
    Progress progress(flags.json);
    Rest rest;
    const Clock& clock = SystemClock::instance();
    const MonotonicNs end = clock.now() + flags.timeout_s * kSecond;
    asio::steady_timer timer(io);
    const HeaderList none;
    const std::string path = "/metrics";
    while (true) {
        auto answer = co_await client.call(url->host_port, "GET", path, none, std::string(),
                                           std::chrono::milliseconds(5'000));
        const auto left = left_of(answer, flags.place);
        if (!left) co_return left.error();
        progress.show(words_of(*left), left->sessions);
        if (rest.has_come(*left, clock.now())) co_return *left;
        if (clock.now() >= end)
            co_return make_error(ErrorCode::kTimeout, "still has work after " +
                                                          std::to_string(flags.timeout_s) +
                                                          " s: " + words_of(*left));
        timer.expires_after(kDrainLook);
        boost::system::error_code ignored;
        co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
}

Task<Result<Left>> drained(asio::io_context& io, const SelfFlags& flags) {
    Result<int> pid = flags.pid;
    if (flags.pid == 0) pid = only_node();
    if (!pid) co_return pid.error();
    const std::string process = std::to_string(*pid);
    if (!is_node("/proc/" + process))  // The signal would end any other program.
        co_return make_error(ErrorCode::kInvalidArgument, process + " is no hearth-cachenode");
    if (::kill(*pid, SIGUSR1) != 0)
        co_return make_error(ErrorCode::kInvalidArgument, process + " cannot be told");
    if (!flags.wait) co_return Left{};
    co_return co_await wait_for_rest(io, flags);
}

}  // namespace

Task<int> drain_self(asio::io_context& io, SelfFlags flags) {
    const auto left = co_await drained(io, flags);
    if (!left) {
        std::fprintf(stderr, "hearth drain: %s\n", left.error().message.c_str());
        co_return left.error().code == ErrorCode::kInvalidArgument ? 2 : 1;
    }
    if (flags.json) {
        json::object out{{"waited", flags.wait}};
        if (flags.wait) out["turns"] = left->turns, out["sessions"] = left->sessions;
        std::printf("%s\n", json_text(out).c_str());
    } else if (flags.wait) {
        const std::string more = is_at_rest(*left) ? "" : ": " + words_of(*left);
        std::printf("the node is drained%s\n", more.c_str());
    } else {
        std::printf("the node drains\n");
    }
    co_return 0;
}

}  // namespace hearth::cli
