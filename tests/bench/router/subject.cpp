// Writes configurations as alike as the three programs allow, starts them, and reads their costs.
#include "tests/bench/router/subject.h"

#include <fcntl.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "common/base/clock.h"
#include "tests/bench/router/bare_relay.h"
#include "tests/bench/router/sockets.h"

namespace hearth::bench {
namespace {

namespace fs = std::filesystem;

std::string node(const Bench& bench, std::size_t i) {
    return "127.0.0.1:" + std::to_string(bench.upstream.ports[i]);
}

void write_file(const std::string& path, const std::string& text) {
    std::ofstream(path) << text;
    if (!fs::exists(path)) die("cannot write " + path);
}

std::vector<std::string> hearth_command(const Recipe& recipe, const Bench& bench,
                                        const std::string& base, int port) {
    std::string text = "listen: 127.0.0.1:" + std::to_string(port) + "\nadmin_listen: ''\nnodes:\n";
    for (std::size_t i = 0; i < kNodes; ++i)
        text += "  - {id: node-" + std::to_string(i) + ", address: " + node(bench, i) + "}\n";
    if (!recipe.logs) text += "log_level: warn\n";
    write_file(base + ".yaml", text);
    return {bench.hearth_router, "--config", base + ".yaml"};
}

// One worker, upstream connections kept, and no buffering where events are streamed. The log line
// says about what ours says, and is written at once as ours is.
std::vector<std::string> nginx_command(const Recipe& recipe, const Bench& bench,
                                       const std::string& base, int port) {
    std::ostringstream text;
    text << "daemon off; worker_processes 1; worker_rlimit_nofile 20000;\npid " << base
         << ".pid; error_log " << base << ".err warn;\n"
         << "events { worker_connections 20000; }\nhttp {\n";
    for (const char* kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"})
        text << "  " << kind << "_temp_path " << base << "." << kind << ";\n";
    if (recipe.logs)
        text << "  log_format turn '$time_iso8601 $request_id $uri $status $upstream_addr "
                "$upstream_header_time $request_time';\n  access_log "
             << base << ".log turn;\n";
    else
        text << "  access_log off;\n";
    text << "  keepalive_requests 1000000000; client_max_body_size 16m; client_body_buffer_size "
            "1m;\n  upstream nodes {\n    hash $http_x_session_id consistent;\n";
    for (std::size_t i = 0; i < kNodes; ++i) text << "    server " << node(bench, i) << ";\n";
    text << "    keepalive 64; keepalive_requests 1000000000;\n  }\n  server {\n"
         << "    listen 127.0.0.1:" << port << " backlog=4096;\n"
         << "    proxy_http_version 1.1; proxy_set_header Connection '';\n"
         << "    location / { proxy_pass http://nodes; }\n"
         << "    location /v1/completions { proxy_pass http://nodes; proxy_buffering off; }\n"
         << "  }\n}\n";
    write_file(base + ".conf", text.str());
    return {find_program("nginx"), "-c", base + ".conf"};
}

// Its log goes to its standard output, which is a file.
std::vector<std::string> haproxy_command(const Recipe& recipe, const Bench& bench,
                                         const std::string& base, int port) {
    std::ostringstream text;
    text << "global\n  nbthread 1\n  maxconn 9900\ndefaults\n  mode http\n  http-reuse always\n"
         << (recipe.logs ? "  log stdout format raw local0\n  option httplog\n" : "")
         << "  timeout connect 1s\n  timeout client 75s\n  timeout server 600s\n"
         << "frontend turns\n  bind 127.0.0.1:" << port << " backlog 4096\n"
         << "  use_backend streams if { path_beg /v1/completions }\n  default_backend nodes\n";
    for (const char* name : {"nodes", "streams"}) {
        text << "backend " << name << "\n  balance hdr(x-session-id)\n  hash-type consistent\n";
        // Else a head without body waits 200 ms for more.
        if (name == std::string("streams")) text << "  option http-no-delay\n";
        for (std::size_t i = 0; i < kNodes; ++i)
            text << "  server node-" << i << " " << node(bench, i) << "\n";
    }
    write_file(base + ".cfg", text.str());
    return {find_program("haproxy"), "-db", "-f", base + ".cfg"};
}

// Empty for the bare relay, which is no program of its own.
std::vector<std::string> command_of(const Recipe& recipe, const Bench& bench,
                                    const std::string& base, int port) {
    switch (recipe.kind) {
        case Kind::kHearth: return hearth_command(recipe, bench, base, port);
        case Kind::kNginx: return nginx_command(recipe, bench, base, port);
        case Kind::kHaproxy: return haproxy_command(recipe, bench, base, port);
        case Kind::kBare: break;
    }
    return {};
}

void pin(int cpu) {
    if (cpu < 0) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<std::size_t>(cpu), &set);
    if (::sched_setaffinity(0, sizeof set, &set) != 0) die("sched_setaffinity");
}

// In the child: does not return.
[[noreturn]] void become(const std::vector<std::string>& command, const std::string& log) {
    const int null = ::open("/dev/null", O_RDWR);
    const int err = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ::dup2(null, 0);
    ::dup2(err, 1);
    ::dup2(err, 2);
    std::vector<char*> words;
    for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    ::execv(words[0], words.data());
    ::_exit(127);
}

int open_counter(pid_t pid, std::uint64_t what) {
    perf_event_attr attributes{};
    attributes.type = PERF_TYPE_HARDWARE;
    attributes.size = sizeof attributes;
    attributes.config = what;
    attributes.exclude_hv = 1;
    return static_cast<int>(::syscall(SYS_perf_event_open, &attributes, pid, -1, -1, 0));
}

std::optional<double> read_counter(int counter) {
    std::uint64_t count = 0;
    if (counter < 0 || ::read(counter, &count, sizeof count) != sizeof count) return std::nullopt;
    return static_cast<double>(count);
}

std::string last_line(const std::string& path) {
    std::ifstream file(path);
    std::string last;
    for (std::string line; std::getline(file, line);) last = line;
    return last.empty() ? "it said nothing" : last;
}

std::string first_word(const std::string& path) {
    std::ifstream file(path);
    std::string word;
    file >> word;
    return word;
}

}  // namespace

std::string find_program(const std::string& name) {
    for (const char* folder : {"/usr/sbin/", "/usr/local/sbin/", "/usr/bin/", "/usr/local/bin/"})
        if (::access((folder + name).c_str(), X_OK) == 0) return folder + name;
    return {};
}

Subject::Subject(const Recipe& recipe, const Bench& bench) : recipe_(recipe) {
    ::close(listen_on(port_));  // A port that is free now.
    const std::string base = bench.folder + "/" + recipe.name + "-" + std::to_string(port_);
    const std::vector<std::string> command = command_of(recipe, bench, base, port_);
    started_ = ::fork();
    if (started_ < 0) die("fork");
    if (started_ == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGTERM);
        pin(bench.cpu);
        if (command.empty()) relay_barely(port_, bench.upstream.ports);
        become(command, base + ".log");
    }
    const MonotonicNs deadline = SystemClock::instance().now() + 10 * kSecond;
    while (!can_connect(port_)) {
        const bool ended = ::waitpid(started_, nullptr, WNOHANG) != 0;
        if (ended || SystemClock::instance().now() > deadline)
            die(recipe.name + " did not start: " + last_line(base + ".log"));
        ::sched_yield();
    }
    find_worker();
    instructions_ = open_counter(worker_, PERF_COUNT_HW_INSTRUCTIONS);
    cycles_ = open_counter(worker_, PERF_COUNT_HW_CPU_CYCLES);
}

// nginx serves from a child of its own.
void Subject::find_worker() {
    worker_ = started_;
    if (recipe_.kind != Kind::kNginx) return;
    const std::string task =
        "/proc/" + std::to_string(started_) + "/task/" + std::to_string(started_) + "/children";
    const MonotonicNs deadline = SystemClock::instance().now() + 5 * kSecond;
    std::string child;
    while (child.empty()) {
        if (SystemClock::instance().now() > deadline) die("nginx has no worker");
        ::sched_yield();
        child = first_word(task);
    }
    worker_ = static_cast<pid_t>(std::stol(child));
}

Subject::~Subject() {
    for (const int counter : {instructions_, cycles_})
        if (counter >= 0) ::close(counter);
    ::kill(started_, SIGTERM);
    const MonotonicNs deadline = SystemClock::instance().now() + 2 * kSecond;
    while (::waitpid(started_, nullptr, WNOHANG) == 0) {
        if (SystemClock::instance().now() > deadline) ::kill(started_, SIGKILL);
        ::sched_yield();
    }
}

Cost Subject::cost() const {
    Cost cost;
    double ns = 0;
    for (const auto& task : fs::directory_iterator("/proc/" + std::to_string(worker_) + "/task"))
        ns += std::stod(first_word(task.path().string() + "/schedstat"));
    cost.cpu_us = ns * 1e-3;
    cost.instructions = read_counter(instructions_);
    cost.cycles = read_counter(cycles_);
    return cost;
}

double Subject::resident_kib() const {
    std::ifstream file("/proc/" + std::to_string(worker_) + "/status");
    std::string line;
    while (std::getline(file, line))
        if (line.compare(0, 6, "VmRSS:") == 0) return std::stod(line.substr(6));
    die("no VmRSS");
}

}  // namespace hearth::bench
