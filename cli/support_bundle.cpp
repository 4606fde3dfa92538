// hearth support-bundle: what somebody who helps needs to know, without the secrets.
#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <thread>

#include "cli/admin_client.h"
#include "cli/commands.h"
#include "cli/redactor.h"
#include "cli/run_task.h"
#include "cli/server_url.h"
#include "cli/tar.h"
#include "common/base/clock.h"
#include "common/config/environment.h"
#include "common/config/redact.h"
#include "common/config/version.h"
#include "common/net/http_client.h"
#include "common/wire/json_text.h"

namespace hearth::cli {
namespace {

namespace json = boost::json;
namespace fs = std::filesystem;

constexpr std::size_t kFileBytesMax = 16 << 20;
constexpr auto kPatience = std::chrono::milliseconds(3'000);

struct BundleFlags {
    AdminFlags admin;
    std::string router = "127.0.0.1:8080", out;
    std::vector<std::string> configs, logs;
    std::int64_t log_lines = 5'000;
};

// What is in the archive and what is not, and why.
struct Bundle {
    std::vector<TarEntry> entries;
    std::vector<std::string> left_out;
    Redactor redactor;

    void add(const std::string& name, const std::string& text) {
        entries.push_back({name.substr(0, 100), text});
    }
    void lacks(const std::string& what, const std::string& why) {
        left_out.push_back(what + ": " + why);
    }
};

Result<std::string> read_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    std::string text(kFileBytesMax, '\0');
    if (in) in.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (!in && !in.eof()) return make_error(ErrorCode::kNotFound, "cannot be read");
    text.resize(static_cast<std::size_t>(in.gcount()));
    return text;
}

std::string first_line_with(const std::string& path, const std::string& word) {
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);)
        if (line.starts_with(word)) return line;
    return word + "?";
}

std::string versions() {
    utsname system{};
    ::uname(&system);
    std::string out = "hearth " + version() + " (" + revision() + ")\n";
    out += std::string(system.sysname) + " " + system.release + " " + system.machine + "\n";
    out += first_line_with("/etc/os-release", "PRETTY_NAME=") + "\n";
    out += "cores " + std::to_string(std::thread::hardware_concurrency()) + "\n";
    for (const char* word : {"model name", "flags"})
        out += first_line_with("/proc/cpuinfo", word) + "\n";
    return out + first_line_with("/proc/meminfo", "MemTotal") + "\n";
}

// Settings first: the secrets in them and in the files that they name must appear nowhere.
void add_configs(const BundleFlags& flags, Bundle& bundle) {
    std::vector<std::string> paths = flags.configs;
    std::error_code ignored;
    if (paths.empty())
        for (const char* path : {"/etc/hearth/router.yaml", "/etc/hearth/cachenode.yaml"})
            if (fs::exists(path, ignored)) paths.push_back(path);
    for (const std::string& path : paths) {
        const auto text = read_file(path);
        if (!text) {
            bundle.lacks(path, text.error().message);
            continue;
        }
        const auto clean = without_secrets(*text);
        if (!clean) {
            bundle.lacks(path, "is no YAML, so nobody knows its secrets: " + clean.error().message);
            continue;
        }
        for (const std::string& secret : clean->secrets) bundle.redactor.add(secret);
        for (const std::string& file : clean->secret_files)
            if (auto secret = read_file(file); secret && secret->size() <= 4096)
                bundle.redactor.add(secret->substr(0, secret->find_last_not_of("\r\n") + 1));
        bundle.add("config/" + fs::path(path).filename().string(), clean->text);
    }
}

void add_logs(const BundleFlags& flags, Bundle& bundle) {
    for (const std::string& path : flags.logs) {
        std::ifstream in(path);
        if (!in) {
            bundle.lacks(path, "cannot be read");
            continue;
        }
        std::deque<std::string> last;
        for (std::string line; std::getline(in, line);) {
            last.push_back(std::move(line));
            if (static_cast<std::int64_t>(last.size()) > flags.log_lines) last.pop_front();
        }
        std::string text;
        for (const std::string& line : last) text += line + "\n";
        bundle.add("logs/" + fs::path(path).filename().string(), text);
    }
}

Task<void> add_metrics(asio::io_context& io, std::string name, std::string place,
                       std::string cacert, Bundle& bundle) {
    const auto url = server_url(place, cacert);
    if (!url) {
        bundle.lacks("metrics of " + name, url.error().message);
        co_return;
    }
    HttpClient client(io, url->client);
    const HeaderList none;
    const std::string path = "/metrics";
    auto answer = co_await client.call(url->host_port, "GET", path, none, std::string(), kPatience);
    if (!answer)
        bundle.lacks("metrics of " + name, answer.error().message);
    else if (answer->status != 200)
        bundle.lacks("metrics of " + name, "HTTP " + std::to_string(answer->status));
    else
        bundle.add("metrics/" + name + ".txt", answer->body);
}

Task<void> add_state(asio::io_context& io, BundleFlags flags, Bundle& bundle) {
    json::object nodes;
    for (const char* what : {"nodes", "history", "config"}) {
        Question question{"GET", std::string("/admin/v1/") + what};
        auto answer = co_await ask(io, flags.admin, question);
        if (!answer) {
            bundle.lacks(std::string("admin API: ") + what, answer.error().message);
            continue;
        }
        bundle.add(std::string("admin/") + what + ".json", json_text(*answer));
        if (std::string(what) == "nodes") nodes = std::move(*answer);
    }
    co_await add_metrics(io, "router", flags.router, flags.admin.cacert, bundle);
    const json::value* list = nodes.if_contains("nodes");
    if (list == nullptr || !list->is_array()) co_return;
    for (const json::value& each : list->as_array()) {
        if (!each.is_object()) continue;
        const std::string id = text_at(each.as_object(), "id");
        const std::string place = text_at(each.as_object(), "address");
        co_await add_metrics(io, "node-" + std::string(fs::path(id).filename()), place,
                             flags.admin.cacert, bundle);
    }
}

// A new file that only its owner can read.
Result<void> write_new(const std::string& path, const std::string& bytes) {
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0)
        return make_error(ErrorCode::kInvalidArgument, path + ": " + std::strerror(errno));
    std::size_t done = 0;
    while (done < bytes.size()) {
        const auto wrote = ::write(file, bytes.data() + done, bytes.size() - done);
        if (wrote <= 0) break;
        done += static_cast<std::size_t>(wrote);
    }
    const bool closed = ::close(file) == 0;
    if (done == bytes.size() && closed) return {};
    ::unlink(path.c_str());
    return make_error(ErrorCode::kUnavailable, path + ": cannot be written");
}

Task<int> make_bundle(asio::io_context& io, BundleFlags flags) {
    Bundle bundle;
    const Clock& clock = SystemClock::instance();
    const std::int64_t now = clock.unix_now() / 1000;
    bundle.redactor.add(environment("HEARTH_ADMIN_TOKEN"));
    bundle.add("versions.txt", versions());
    add_configs(flags, bundle);
    add_logs(flags, bundle);
    co_await add_state(io, flags, bundle);
    std::string left_out;
    for (const std::string& each : bundle.left_out) left_out += each + "\n";
    if (!left_out.empty()) bundle.add("left-out.txt", left_out);
    for (TarEntry& entry : bundle.entries) entry.content = bundle.redactor.clean(entry.content);
    if (flags.out.empty()) flags.out = "hearth-support-" + std::to_string(now) + ".tar";
    if (const auto done = write_new(flags.out, tar_of(bundle.entries, now)); !done) {
        std::fprintf(stderr, "hearth support-bundle: %s\n", done.error().message.c_str());
        co_return done.error().code == ErrorCode::kInvalidArgument ? 2 : 1;
    }
    if (flags.admin.json) {
        json::array entries;
        for (const TarEntry& entry : bundle.entries)
            entries.push_back(json::object{{"name", entry.name}, {"bytes", entry.content.size()}});
        json::object out{{"file", flags.out},
                         {"entries", std::move(entries)},
                         {"left_out", json::value_from(bundle.left_out)}};
        std::printf("%s\n", json_text(out).c_str());
        co_return 0;
    }
    std::fprintf(stderr, "%s", left_out.c_str());
    for (const TarEntry& entry : bundle.entries)
        std::printf("%9zu  %s\n", entry.content.size(), entry.name.c_str());
    std::printf("%s: look through it before you send it\n", flags.out.c_str());
    co_return 0;
}

}  // namespace

void add_support_bundle(CLI::App& app, int& exit_code) {
    auto flags = std::make_shared<BundleFlags>();
    CLI::App* sub = app.add_subcommand(
        "support-bundle", "A tar of state, metrics, versions and settings, without secrets");
    sub->add_option("--out", flags->out, "File to write; default: hearth-support-TIME.tar here");
    sub->add_option("--router", flags->router, "Router whose /metrics to take, host:port or URL")
        ->capture_default_str();
    sub->add_option("--config", flags->configs,
                    "Settings file; repeatable; default: those of /etc/hearth");
    sub->add_option("--log", flags->logs, "Log file to take the end of; repeatable");
    sub->add_option("--log-lines", flags->log_lines, "Lines of each log")
        ->check(CLI::Range(1, 1'000'000))
        ->capture_default_str();
    add_admin_flags(*sub, flags->admin);
    sub->footer(
        "Taken out: values of settings that are secrets, wherever they appear, the contents of "
        "the files\nthat settings name as secret, tokens, key hashes, passwords in URLs. Host "
        "names and addresses stay.\nWhat cannot be had is named and left out.\n"
        "Examples:\n  hearth support-bundle\n"
        "  journalctl -u hearth-router -n 5000 > router.log; hearth support-bundle --log "
        "router.log --json");
    sub->callback([flags, &exit_code] {
        asio::io_context io;
        exit_code = run_task(io, make_bundle(io, *flags));
    });
}

}  // namespace hearth::cli
