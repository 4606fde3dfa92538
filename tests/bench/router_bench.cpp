// router_bench: what hearth-router costs beside nginx and HAProxy that do the same: CPU per request
// and per streamed event, added latency, memory. `hearth bench router` runs it.
// Usage: router_bench [--json] [--seconds N] [--no-memory] [--only PROGRAM] [--case CASE]
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>

#include "tests/bench/router/load.h"
#include "tests/bench/router/subject.h"

namespace hearth::bench {
namespace {

namespace json = boost::json;

constexpr std::size_t kLongPromptBytes = 400'000;  // About 100,000 tokens.
constexpr std::size_t kConnections = 32;
constexpr std::size_t kStreams = 64;
constexpr std::size_t kIdleConnections = 9'000;  // Leaves a bound of 20,000 descriptors its room.
constexpr std::size_t kHeldStreams = 1'000;

// One kind of load, and which figures it gives.
struct Case {
    const char* name;
    const char* path;
    std::size_t connections;
    std::size_t prompt_bytes;
    double share;    // Of a round's time.
    bool per_event;  // The unit is an event, else an answer.
};
constexpr Case kCases[] = {
    {"request", kAnswerPath, kConnections, 2'000, 0.3, false},
    {"alone", kAnswerPath, 1, 2'000, 0.2, false},
    {"event", kStreamPath, kStreams, 2'000, 0.35, true},
    {"long_prompt", kAnswerPath, 4, kLongPromptBytes, 0.15, false},
};

// All values of one figure, one a round.
using Samples = std::map<std::string, std::vector<double>>;

double median(std::vector<double> values) {
    if (values.empty()) return 0;
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

struct Arguments {
    bool json = false;
    bool memory = true;
    std::string only, only_case;  // Empty = all; for work on one of them.
    double seconds = 90;
};

Arguments parse(int argc, char** argv) {
    Arguments args;
    for (int i = 1; i < argc; ++i) {
        const std::string word = argv[i];
        if (word == "--json") {
            args.json = true;
        } else if (word == "--no-memory") {
            args.memory = false;
        } else if (word == "--only" && i + 1 < argc) {
            args.only = argv[++i];
        } else if (word == "--case" && i + 1 < argc) {
            args.only_case = argv[++i];
        } else if (word == "--seconds" && i + 1 < argc) {
            args.seconds = std::max(1.0, std::atof(argv[++i]));
        } else {
            std::fprintf(stderr,
                         "usage: hearth bench router [--json] [--seconds N] [--no-memory]"
                         " [--only PROGRAM] [--case CASE]\n");
            std::exit(2);
        }
    }
    return args;
}

// The last core is the router's, the others take the nodes and the load.
int split_cores() {
    cpu_set_t all;
    if (::sched_getaffinity(0, sizeof all, &all) != 0 || CPU_COUNT(&all) < 2) return -1;
    int last = CPU_SETSIZE - 1;
    while (!CPU_ISSET(static_cast<std::size_t>(last), &all)) --last;
    CPU_CLR(static_cast<std::size_t>(last), &all);
    return ::sched_setaffinity(0, sizeof all, &all) == 0 ? last : -1;
}

void measure(const Case& kind, std::uint16_t port, const Subject* subject, MonotonicNs time,
             Samples& samples) {
    Load load({port, kind.connections, kind.path, kind.prompt_bytes});
    load.run(time / 8);
    const Cost before = subject ? subject->cost() : Cost();
    const Load::Tally tally = load.run(time);
    const Cost after = subject ? subject->cost() : Cost();
    const std::string name = kind.name;
    const double count = static_cast<double>(kind.per_event ? tally.events : tally.answers);
    if (count == 0) die("nothing was answered");
    if (subject) samples[name + "_cpu_us"].push_back((after.cpu_us - before.cpu_us) / count);
    if (subject && before.instructions && after.instructions)
        samples[name + "_instructions"].push_back((*after.instructions - *before.instructions) /
                                                  count);
    if (subject && before.cycles && after.cycles)
        samples[name + "_cycles"].push_back((*after.cycles - *before.cycles) / count);
    if (kind.connections == 1) samples["p50_us"].push_back(median(tally.latencies_us));
    if (!kind.per_event && kind.connections == kConnections)
        samples["requests_per_s"].push_back(count / seconds(time));
}

// In a fresh process each, so that nothing earlier has left its pages behind.
void measure_memory(const Recipe& recipe, const Bench& bench, Samples& samples) {
    {
        const Subject subject(recipe, bench);
        Load({subject.port(), 10, kAnswerPath}).ask_each_once();
        const double before = subject.resident_kib();
        Load idle({subject.port(), kIdleConnections, kAnswerPath});
        idle.ask_each_once();
        samples["idle_connection_kib"].push_back((subject.resident_kib() - before) /
                                                 static_cast<double>(kIdleConnections));
    }
    const Subject subject(recipe, bench);
    Load({subject.port(), 10, kHoldPath}).ask_each_once();
    const double before = subject.resident_kib();
    Load held({subject.port(), kHeldStreams, kHoldPath});
    held.ask_each_once();
    samples["open_stream_kib"].push_back((subject.resident_kib() - before) /
                                         static_cast<double>(kHeldStreams));
}

std::vector<Recipe> recipes() {
    std::vector<Recipe> all = {{"hearth", Kind::kHearth, true},
                               {"hearth_quiet", Kind::kHearth, false},
                               {"bare", Kind::kBare, false}};
    for (const auto& [name, kind] :
         {std::pair{"nginx", Kind::kNginx}, {"haproxy", Kind::kHaproxy}}) {
        if (find_program(name).empty()) {
            std::fprintf(stderr, "hearth bench router: %s is not installed: its figures are null\n",
                         name);
            continue;
        }
        all.push_back({name, kind, false});
        all.push_back({std::string(name) + "_logging", kind, true});
    }
    return all;
}

using Results = std::map<std::string, Samples>;  // By program.

// Programs take turns within each round, so that what else the machine does meets all of them.
Results run(const Arguments& args, const Bench& bench) {
    std::vector<Recipe> all = recipes();
    if (!args.only.empty())
        std::erase_if(all, [&](const Recipe& recipe) { return recipe.name != args.only; });
    const int rounds = std::clamp(static_cast<int>(args.seconds / 3), 1, 45);
    const double each = args.seconds / rounds / (static_cast<double>(all.size()) + 0.2) * 0.85;
    Results samples;
    std::vector<std::unique_ptr<Subject>> subjects;
    for (const Recipe& recipe : all) subjects.push_back(std::make_unique<Subject>(recipe, bench));
    for (int round = 0; round < rounds; ++round) {
        const auto alone = static_cast<MonotonicNs>(each * 0.2 * 1e9);
        measure(kCases[1], bench.upstream.ports[0], nullptr, alone, samples["direct"]);
        for (const Case& kind : kCases) {
            if (!args.only_case.empty() && args.only_case != kind.name) continue;
            const auto time = static_cast<MonotonicNs>(each * kind.share * 1e9);
            for (const auto& subject : subjects)
                measure(kind, subject->port(), subject.get(), time, samples[subject->name()]);
        }
    }
    subjects.clear();
    for (const Recipe& recipe : all) {
        const bool is_variant = recipe.logs != (recipe.kind == Kind::kHearth);
        if (!args.memory || is_variant || recipe.kind == Kind::kBare) continue;
        measure_memory(recipe, bench, samples[recipe.name]);
    }
    return samples;
}

// One value a round; empty where there is none.
std::vector<double> find(const Results& results, const std::string& name,
                         const std::string& figure) {
    const auto subject = results.find(name);
    if (subject == results.end()) return {};
    const auto values = subject->second.find(figure);
    return values == subject->second.end() ? std::vector<double>() : values->second;
}

struct Ratio {
    const char* name;
    const char* figure;
    const char* ours;
    const char* theirs;
    double bound;  // What the project promises; 0 = told for comparison.
};
constexpr Ratio kRatios[] = {
    {"cpu_vs_nginx", "request_cpu_us", "hearth", "nginx", 0.85},
    {"cpu_vs_haproxy", "request_cpu_us", "hearth", "haproxy", 0.85},
    {"added_p50_vs_nginx", "p50_us", "hearth", "nginx", 1.0},
    {"sse_cpu_vs_nginx", "event_cpu_us", "hearth", "nginx", 0.9},
    {"cpu_vs_nginx_both_logging", "request_cpu_us", "hearth", "nginx_logging", 0},
    {"cpu_vs_nginx_both_quiet", "request_cpu_us", "hearth_quiet", "nginx", 0},
    {"cpu_vs_haproxy_both_logging", "request_cpu_us", "hearth", "haproxy_logging", 0},
    {"cpu_vs_haproxy_both_quiet", "request_cpu_us", "hearth_quiet", "haproxy", 0},
    // Of a relay that makes the same system calls and looks at nothing.
    {"bare_cpu_vs_hearth", "request_cpu_us", "bare", "hearth", 0},
    {"bare_cpu_vs_haproxy", "request_cpu_us", "bare", "haproxy", 0},
    {"bare_sse_cpu_vs_hearth", "event_cpu_us", "bare", "hearth", 0},
    {"bare_sse_cpu_vs_nginx", "event_cpu_us", "bare", "nginx", 0},
    {"cycles_vs_nginx", "request_cycles", "hearth", "nginx", 0},
    {"cycles_vs_haproxy", "request_cycles", "hearth", "haproxy", 0},
    {"sse_cycles_vs_nginx", "event_cycles", "hearth", "nginx", 0},
    {"instructions_vs_haproxy", "request_instructions", "hearth", "haproxy", 0},
    {"instructions_vs_nginx", "request_instructions", "hearth", "nginx", 0},
    {"sse_instructions_vs_nginx", "event_instructions", "hearth", "nginx", 0},
    {"sse_cpu_vs_haproxy", "event_cpu_us", "hearth", "haproxy", 0},
};

// The median over the rounds of the two in the same round, so that what else the machine does is
// in both. Latencies are compared by what is added to a request that goes to the node directly.
std::optional<double> ratio(const Results& results, const Ratio& wanted) {
    std::vector<double> ours = find(results, wanted.ours, wanted.figure);
    const std::vector<double> theirs = find(results, wanted.theirs, wanted.figure);
    if (ours.empty() || ours.size() != theirs.size()) return std::nullopt;
    const bool is_latency = std::strcmp(wanted.figure, "p50_us") == 0;
    const std::vector<double> direct = find(results, "direct", "p50_us");
    for (std::size_t i = 0; i < ours.size(); ++i) {
        const double apart = is_latency ? direct[i] : 0;
        ours[i] = (ours[i] - apart) / (theirs[i] - apart);
    }
    return median(std::move(ours));
}

std::string json_text(const Results& results) {
    json::object figures, ratios, bounds;
    for (const auto& [name, values] : results) {
        json::object object;
        for (const auto& [figure, each] : values) object[figure] = median(each);
        figures[name] = std::move(object);
    }
    for (const char* name : {"nginx", "haproxy"})
        if (!figures.contains(name)) figures[name] = nullptr;
    for (const Ratio& each : kRatios) {
        const auto value = ratio(results, each);
        ratios[each.name] = value ? json::value(*value) : json::value(nullptr);
        if (each.bound > 0) bounds[each.name] = each.bound;
    }
    json::object all;
    all["ratios"] = std::move(ratios);
    all["bounds"] = std::move(bounds);
    all["figures"] = std::move(figures);
    return json::serialize(all);
}

void print_table(const Results& results) {
    std::map<std::string, bool> names;
    for (const auto& [name, values] : results)
        for (const auto& [figure, value] : values) names[figure] = true;
    std::printf("%-26s", "");
    for (const auto& [name, values] : results) std::printf("%14s", name.c_str());
    for (const auto& [figure, unused] : names) {
        std::printf("\n%-26s", figure.c_str());
        for (const auto& [name, values] : results) {
            const std::vector<double> rounds = find(results, name, figure);
            if (rounds.empty())
                std::printf("%14s", "-");
            else
                std::printf("%14.2f", median(rounds));
        }
    }
    std::printf("\n\n");
    for (const Ratio& each : kRatios) {
        const auto value = ratio(results, each);
        std::printf("%-28s", each.name);
        if (value)
            std::printf("%8.3f", *value);
        else
            std::printf("%8s", "null");
        if (each.bound > 0) std::printf("   (wanted: at most %.2f)", each.bound);
        std::printf("\n");
    }
}

}  // namespace

namespace {

pid_t measuring = 0;

int bench_in(const std::string& folder, const Arguments& args) {
    rlimit files{};
    ::getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
    Bench bench;
    const auto self = std::filesystem::read_symlink("/proc/self/exe");
    bench.hearth_router = self.parent_path() / "hearth-router";
    bench.folder = folder;
    bench.cpu = split_cores();
    if (bench.cpu < 0)
        std::fprintf(stderr, "hearth bench router: one core only: the load shares the router's\n");
    bench.upstream = start_upstream();
    const Results results = run(args, bench);
    ::kill(bench.upstream.pid, SIGKILL);
    if (args.json)
        std::printf("%s\n", json_text(results).c_str());
    else
        print_table(results);
    return 0;
}

}  // namespace

// A child measures, so that the folder goes whatever becomes of it: a failure, Ctrl-C, a crash.
int bench_router(int argc, char** argv) {
    const Arguments args = parse(argc, argv);
    const std::string base = std::filesystem::temp_directory_path() / "hearth-bench-XXXXXX";
    std::vector<char> folder(base.c_str(), base.c_str() + base.size() + 1);
    if (::mkdtemp(folder.data()) == nullptr) die("mkdtemp");
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    measuring = ::fork();
    if (measuring < 0) die("fork");
    if (measuring == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGTERM);
        std::exit(bench_in(folder.data(), args));
    }
    for (const int number : {SIGINT, SIGTERM, SIGHUP})
        ::signal(number, [](int) { ::kill(measuring, SIGTERM); });
    int status = 0;
    while (::waitpid(measuring, &status, 0) < 0 && errno == EINTR) continue;
    // What it started ends with it, and writes to the folder until then.
    while (::waitpid(-1, nullptr, 0) > 0 || errno == EINTR) continue;
    std::error_code ignored;
    std::filesystem::remove_all(folder.data(), ignored);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

}  // namespace hearth::bench

int main(int argc, char** argv) {
    return hearth::bench::bench_router(argc, argv);
}
