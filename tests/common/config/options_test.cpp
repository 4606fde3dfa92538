// Options: precedence, strictness, secrets, and the words of each error an operator can meet.
#include "common/config/options.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "common/config/environment.h"
#include "common/config/version.h"

namespace hearth {
namespace {

namespace fs = std::filesystem;

// A program's settings, one of each kind.
struct Settings {
    std::string listen = "127.0.0.1:8080";
    bool cache = true;
    std::int64_t port = 1;
    double weight = 0.1;
    std::vector<std::string> peers;
    std::int64_t memory = 512LL << 20;
    std::int64_t timeout_ms = 250;
    std::string password;
    std::vector<std::map<std::string, std::string>> upstreams;

    Settings() : options("hearth-test", "A program for tests.", {"hearth-test --port 5"}) {
        options.add("listen", listen, "Where to listen");
        options.add("cache", cache, "Reuse KV");
        options.add("port", port, 1, 65535, "A port");
        options.add("weight", weight, 0.0, 1.0, "A weight");
        options.add("peers", peers, "Others");
        options.add_bytes("memory", memory, "Memory");
        options.add_duration_ms("timeout", timeout_ms, "Patience");
        options.add_secret("password", password, "The password");
        options.add_entries(
            "upstreams", "Static upstreams",
            [this](const std::map<std::string, std::string>& entry) -> Result<void> {
                if (!entry.count("url"))
                    return make_error(ErrorCode::kInvalidArgument, "needs a url");
                upstreams.push_back(entry);
                return {};
            });
        options.add_check([this]() -> Result<void> {
            if (port == 666) return make_error(ErrorCode::kInvalidArgument, "port: is cursed");
            return {};
        });
    }
    std::string load(const std::string& yaml) {
        const auto loaded = options.load_yaml(yaml, "t.yaml");
        return loaded ? "" : loaded.error().message;
    }
    Options options;
};

class OptionsTest : public testing::Test {
  protected:
    OptionsTest() {
        std::string pattern = fs::temp_directory_path() / "hearth-options-XXXXXX";
        folder_ = mkdtemp(pattern.data());
    }
    ~OptionsTest() override {
        fs::remove_all(folder_);
        for (const std::string& name : variables_) unsetenv(name.c_str());
    }

    std::string file(const std::string& name, const std::string& content) {
        std::ofstream(folder_ / name, std::ios::binary) << content;
        return folder_ / name;
    }
    void variable(const std::string& name, const std::string& value) {
        setenv(name.c_str(), value.c_str(), 1);
        variables_.push_back(name);
    }
    // Runs parse(); what it printed is in out_ and err_.
    int parse(std::vector<std::string> arguments) {
        arguments.insert(arguments.begin(), "hearth-test");
        std::vector<const char*> argv;
        for (const std::string& argument : arguments) argv.push_back(argument.c_str());
        testing::internal::CaptureStdout();
        testing::internal::CaptureStderr();
        const int code = settings_.options.parse(static_cast<int>(argv.size()), argv.data());
        std::fflush(stdout);
        out_ = testing::internal::GetCapturedStdout();
        err_ = testing::internal::GetCapturedStderr();
        return code;
    }

    fs::path folder_;
    std::vector<std::string> variables_;
    Settings settings_;
    std::string out_, err_;
};

TEST_F(OptionsTest, EveryKindFromAFile) {
    const std::string path = file("all.yaml",
                                  "listen: 0.0.0.0:80\ncache: no\nport: 99\nweight: 0.5\n"
                                  "peers: [a, 'b c']\nmemory: 2GiB\ntimeout: 3s\n"
                                  "password: hunter2\nlog_level: warn\nlog_json: true\n"
                                  "upstreams:\n  - {url: u1, weight: 2}\n  - url: u2\n");
    ASSERT_EQ(parse({"--config", path}), -1) << err_;
    EXPECT_EQ(settings_.listen, "0.0.0.0:80");
    EXPECT_FALSE(settings_.cache);
    EXPECT_EQ(settings_.port, 99);
    EXPECT_EQ(settings_.weight, 0.5);
    EXPECT_EQ(settings_.peers, (std::vector<std::string>{"a", "b c"}));
    EXPECT_EQ(settings_.memory, 2LL << 30);
    EXPECT_EQ(settings_.timeout_ms, 3'000);
    EXPECT_EQ(settings_.password, "hunter2");
    EXPECT_EQ(settings_.options.log_level(), "warn");
    EXPECT_TRUE(settings_.options.log_json());
    ASSERT_EQ(settings_.upstreams.size(), 2u);
    EXPECT_EQ(settings_.upstreams[0].at("weight"), "2");
    EXPECT_EQ(settings_.upstreams[1].at("url"), "u2");
}

TEST_F(OptionsTest, FlagBeatsVariableBeatsFileBeatsDefault) {
    const std::string path = file("p.yaml", "port: 10\nweight: 0.2\npeers: [x]\n");
    variable("HEARTH_PORT", "20");
    variable("HEARTH_WEIGHT", "0.4");
    variable("HEARTH_PEERS", "y,z");
    variable("HEARTH_TIMEOUT", "");  // Empty is not set.
    ASSERT_EQ(parse({"--port", "30", "--cache=false", "--config", path}), -1) << err_;
    EXPECT_EQ(settings_.port, 30);
    EXPECT_EQ(settings_.weight, 0.4);
    EXPECT_EQ(settings_.peers, (std::vector<std::string>{"y", "z"}));
    EXPECT_FALSE(settings_.cache);
    EXPECT_EQ(settings_.timeout_ms, 250);
    const std::string shown = settings_.options.print();
    EXPECT_NE(shown.find("port: 30"), std::string::npos);
    EXPECT_NE(shown.find("# --port\n"), std::string::npos) << shown;
    EXPECT_NE(shown.find("# HEARTH_WEIGHT\n"), std::string::npos) << shown;
    EXPECT_NE(shown.find("# default\n"), std::string::npos) << shown;
}

TEST_F(OptionsTest, FlagsInTheirForms) {
    ASSERT_EQ(parse({"--cache", "--log-json", "--port=5", "--port", "6", "--peers", "a", "--peers",
                     "b", "--log-level", "debug"}),
              -1)
        << err_;
    EXPECT_TRUE(settings_.cache);
    EXPECT_TRUE(settings_.options.log_json());
    EXPECT_EQ(settings_.port, 6);
    EXPECT_EQ(settings_.peers, (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(settings_.options.log_level(), "debug");
}

TEST_F(OptionsTest, ErrorsOfAFileNamePlaceFieldAndLimit) {
    const std::vector<std::pair<std::string, std::string>> cases = {
        {"prot: 5", "t.yaml:1:1: prot: unknown setting, did you mean 'port'?"},
        {"port: 5\n\nquite_else: 1", "t.yaml:3:1: quite_else: unknown setting"},
        {"port: 0", "t.yaml:1:1: port: must be from 1 to 65535, is 0"},
        {"cache: true\nport: 70000", "t.yaml:2:1: port: must be from 1 to 65535, is 70000"},
        {"port: abc", "t.yaml:1:1: port: 'abc' is not a whole number"},
        {"port: 1.5", "t.yaml:1:1: port: '1.5' is not a whole number"},
        {"port:", "t.yaml:1:1: port: must be one value (1 to 65535)"},
        {"port: [1]", "t.yaml:1:1: port: must be one value (1 to 65535)"},
        {"port: {a: 1}", "t.yaml:1:1: port: must be one value (1 to 65535)"},
        {"weight: 2", "t.yaml:1:1: weight: must be from 0 to 1, is 2"},
        {"weight: .nan", "t.yaml:1:1: weight: '.nan' is not a number"},
        {"cache: maybe", "t.yaml:1:1: cache: 'maybe' is not true or false"},
        {"memory: 5 GB", "t.yaml:1:1: memory: '5 GB' is not a size such as 512MiB or 2GiB"},
        {"timeout: soon", "t.yaml:1:1: timeout: 'soon' is not a duration such as 250ms, 2s or 5m"},
        {"log_level: loud", "t.yaml:1:1: log_level: 'loud' is not one of debug, info, warn, error"},
        {"peers: a", "t.yaml:1:1: peers: must be a list"},
        {"peers:\n- a\n- [b]", "t.yaml:3:3: peers: must be text"},
        {"port: 1\nport: 2", "t.yaml:2:1: port: set twice"},
        {"upstreams:\n- url: a\n- name: b", "t.yaml:3:3: upstreams: needs a url"},
        {"upstreams: [a]", "t.yaml:1:13: upstreams: each entry must be a map"},
        {",*a", "t.yaml:1:1: a second document"},
        {"upstreams:\n- url: {a: b}",
         "t.yaml:2:3: upstreams: each value must be a scalar or a list of scalars"},
        {"upstreams:\n- url: [[a]]",
         "t.yaml:2:3: upstreams: each value must be a scalar or a list of scalars"},
        {"upstreams:\n- url: a\n  url: b", "t.yaml:2:3: upstreams: url: set twice"},
        {"password: a\npassword_file: b",
         "t.yaml:2:1: password_file: password is set too; keep one"},
        {"- a", "t.yaml:1:1: must be a map of settings"},
        {"just text", "t.yaml:1:1: must be a map of settings"},
        {"{[1]: 2}", "t.yaml:1:2: a setting's name must be text"},
        {"port: 1\n---\nport: 2", "t.yaml:3:1: a second document"},
    };
    for (const auto& [yaml, message] : cases) EXPECT_EQ(Settings().load(yaml), message) << yaml;
}

TEST_F(OptionsTest, SyntaxErrorsNameTheirPlace) {
    for (const char* yaml :
         {"port: [1", "port: 'x", "a: b: c", "\tport: 1", "port: &", "!<", "{"}) {
        const std::string message = Settings().load(yaml);
        EXPECT_TRUE(message.starts_with("t.yaml:")) << yaml << " -> " << message;
    }
    EXPECT_EQ(Settings().load(""), "");
    EXPECT_EQ(Settings().load("# only a comment\n"), "");
    EXPECT_EQ(Settings().load("---\nport: 3\n"), "");
}

TEST_F(OptionsTest, HostileFilesEndInAnError) {
    EXPECT_NE(Settings().load(std::string(100'000, '[')), "");
    EXPECT_NE(Settings().load("a: &a [*a]\n"), "");
    std::string bomb = "a0: &a0 [x,x]\n";
    for (int i = 1; i < 40; ++i) {
        const std::string before = std::to_string(i - 1), now = std::to_string(i);
        bomb += "a" + now + ": &a" + now + " [*a" + before + ",*a" + before + "]\n";
    }
    EXPECT_NE(Settings().load(bomb), "");
    EXPECT_NE(Settings().load(std::string("port: \0 1", 9)), "");
    EXPECT_EQ(parse({"--config", file("big.yaml", std::string((1 << 20) + 1, '#'))}), 2);
    EXPECT_NE(err_.find("larger than 1 MiB"), std::string::npos) << err_;
    EXPECT_EQ(parse({"--config", file("fits.yaml", std::string(1 << 20, '#'))}), -1) << err_;
}

TEST_F(OptionsTest, FilesThatCannotBeRead) {
    for (const std::string& path : {(folder_ / "absent.yaml").string(), folder_.string()}) {
        EXPECT_EQ(parse({"--config", path}), 2);
        EXPECT_NE(err_.find(path + ": cannot be read"), std::string::npos) << err_;
    }
}

TEST_F(OptionsTest, ErrorsOfVariablesNameThem) {
    variable("HEARTH_PORT", "70000");
    EXPECT_EQ(parse({}), 2);
    EXPECT_EQ(err_, "hearth-test: HEARTH_PORT: must be from 1 to 65535, is 70000\n");
    unsetenv("HEARTH_PORT");
    variable("HEARTH_UPSTREAMS", "a");
    EXPECT_EQ(parse({}), 2);
    EXPECT_NE(err_.find("HEARTH_UPSTREAMS: upstreams can only be set in the file"),
              std::string::npos);
}

TEST_F(OptionsTest, ErrorsOfFlagsNameThem) {
    EXPECT_EQ(parse({"--port", "70000"}), 2);
    EXPECT_EQ(err_, "hearth-test: --port: must be from 1 to 65535, is 70000\n");
    EXPECT_EQ(parse({"--prot", "5"}), 2);
    EXPECT_EQ(err_, "hearth-test: unknown flag --prot, did you mean --port?\n");
    EXPECT_EQ(parse({"--confg=x"}), 2);
    EXPECT_EQ(err_, "hearth-test: unknown flag --confg, did you mean --config?\n");
    EXPECT_EQ(parse({"--nothing-like-it"}), 2);
    EXPECT_EQ(err_, "hearth-test: unknown flag --nothing-like-it; see --help\n");
    EXPECT_EQ(parse({"--port", "5", "stray"}), 2);
    EXPECT_EQ(err_, "hearth-test: unexpected argument 'stray'\n");
    EXPECT_EQ(parse({"stray"}), 2);
    EXPECT_EQ(err_, "hearth-test: unexpected argument 'stray'\n");
    EXPECT_EQ(parse({"--port"}), 2);  // CLI11's own words.
    EXPECT_TRUE(err_.starts_with("hearth-test: --port: ")) << err_;
}

TEST_F(OptionsTest, ChecksSayWhereTheValueCameFrom) {
    const std::string path = file("c.yaml", "cache: true\nport: 666\n");
    EXPECT_EQ(parse({"--config", path}), 2);
    EXPECT_EQ(err_, "hearth-test: " + path + ":2:1: port: is cursed\n");
    EXPECT_EQ(parse({"--port", "666"}), 2);
    EXPECT_EQ(err_, "hearth-test: --port: is cursed\n");
}

TEST_F(OptionsTest, SecretsAreNeverFlagsNorShown) {
    EXPECT_EQ(parse({"--password", "hunter2"}), 2);
    EXPECT_NE(err_.find("HEARTH_PASSWORD"), std::string::npos) << err_;
    EXPECT_EQ(err_.find("hunter2"), std::string::npos) << err_;
    variable("HEARTH_PASSWORD", "hunter2");
    EXPECT_EQ(parse({"--print-config"}), 0);
    EXPECT_EQ(settings_.password, "hunter2");
    EXPECT_EQ(out_.find("hunter2"), std::string::npos) << out_;
    EXPECT_NE(out_.find("password: \"<hidden>\""), std::string::npos) << out_;
    EXPECT_EQ(settings_.options.reference().find("hunter2"), std::string::npos);
    EXPECT_EQ(parse({"--help"}), 0);
    EXPECT_EQ(out_.find("hunter2"), std::string::npos);
}

TEST_F(OptionsTest, SecretsFromAFile) {
    const std::string path = file("secret", "hunter2\r\n");
    ASSERT_EQ(parse({"--password-file", path, "--print-config"}), 0) << err_;
    EXPECT_EQ(settings_.password, "hunter2");
    EXPECT_NE(out_.find("password_file: \"" + path + "\""), std::string::npos) << out_;
    // A flag replaces what a file set, though under another name.
    Settings other;
    ASSERT_EQ(other.load("password: old"), "");
    settings_.password.clear();
    ASSERT_EQ(parse({"--config", file("s.yaml", "password: old"), "--password-file", path}), -1);
    EXPECT_EQ(settings_.password, "hunter2");
    EXPECT_EQ(parse({"--password-file", folder_ / "absent"}), 2);
    EXPECT_NE(err_.find("absent: cannot be read"), std::string::npos) << err_;
    variable("HEARTH_PASSWORD", "a");
    variable("HEARTH_PASSWORD_FILE", path);
    EXPECT_EQ(parse({}), 2);
    EXPECT_NE(err_.find("keep one"), std::string::npos) << err_;
}

TEST_F(OptionsTest, CheckPrintVersionHelp) {
    EXPECT_EQ(parse({"--check"}), 0);
    EXPECT_EQ(out_, "hearth-test: the settings are good\n");
    EXPECT_EQ(parse({"--check", "--port", "0"}), 2);
    EXPECT_EQ(out_, "");
    // What is wrong as a whole is printed all the same, to see where it came from.
    EXPECT_EQ(parse({"--print-config", "--port", "666"}), 2);
    EXPECT_NE(out_.find("port: 666"), std::string::npos);
    EXPECT_EQ(parse({"--version"}), 0);
    EXPECT_EQ(out_, "hearth-test " + version() + " (" + revision() + ")\n");
    EXPECT_FALSE(version().empty());
    EXPECT_EQ(parse({"--help"}), 0);
    for (const char* text : {"A program for tests.", "--port", "1 to 65535", "--password-file",
                             "--config", "HEARTH_", "hearth-test --port 5"})
        EXPECT_NE(out_.find(text), std::string::npos) << text << " in\n" << out_;
    EXPECT_EQ(out_.find("--upstreams"), std::string::npos);
}

TEST_F(OptionsTest, WhatIsPrintedReadsBackTheSame) {
    Settings a;
    ASSERT_EQ(a.load("listen: \"a \\\"b\\\" \\\\ c\\nd\\r\\t\\e[2J\"\nweight: 0.12345678901234567\n"
                     "peers: ['x, y', '']\nmemory: 1025\ntimeout: 61s\ncache: false\n"),
              "");
    Settings b;
    const std::string printed = a.options.print();
    ASSERT_EQ(b.load(printed), "") << printed;
    EXPECT_EQ(a.listen, "a \"b\" \\ c\nd\r\t\x1b[2J");
    EXPECT_EQ(b.listen, a.listen);
    EXPECT_EQ(printed.find('\x1b'), std::string::npos);
    EXPECT_EQ(b.weight, a.weight);
    EXPECT_EQ(b.peers, a.peers);
    EXPECT_EQ(b.memory, a.memory);
    EXPECT_EQ(b.timeout_ms, a.timeout_ms);
    EXPECT_EQ(b.cache, a.cache);
}

TEST_F(OptionsTest, ReferenceListsEverySetting) {
    const std::string table = Settings().options.reference();
    for (const char* row : {"| `port` | `--port` | `HEARTH_PORT` | 1 to 65535 | `1` | A port |",
                            "| `password` | - | `HEARTH_PASSWORD` | secret |",
                            "| `upstreams` | - | - | list of maps |",
                            "| `log_level` | `--log-level` | `HEARTH_LOG_LEVEL` |"})
        EXPECT_NE(table.find(row), std::string::npos) << row << " in\n" << table;
}

TEST_F(OptionsTest, CacheFolderFollowsTheEnvironment) {
    variable("XDG_CACHE_HOME", "/x");
    EXPECT_EQ(cache_folder(), "/x/hearth");
    variable("XDG_CACHE_HOME", "x");
    variable("HOME", "/h");
    EXPECT_EQ(cache_folder(), "/h/.cache/hearth") << "a relative one is to be ignored";
    for (const char* home : {"", "h"}) {
        variable("HOME", home);
        EXPECT_EQ(cache_folder(), "") << "no folder that others could write to stands in for it";
    }
    variable("HEARTH_CACHE_FOLDER", "/c");
    EXPECT_EQ(cache_folder(), "/c");
    EXPECT_EQ(environment("HEARTH_SURELY_NOT_SET"), "");
}

}  // namespace
}  // namespace hearth
