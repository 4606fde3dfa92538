// Settings read again: what changes, what needs a restart, and a bad file that changes nothing.
#include "router/admin/reload.h"

#include <gtest/gtest.h>

#include <fstream>

#include "router/core.h"

namespace hearth {
namespace {

class ReloadTest : public testing::Test {
  protected:
    ReloadTest() : path_(testing::TempDir() + "reload_test.yaml") {}
    ~ReloadTest() override { std::remove(path_.c_str()); }

    void write(const std::string& text) { std::ofstream(path_) << text; }
    ConfigSource source() {
        arguments_ = {"hearth-router", "--config", path_.c_str()};
        return config_source(static_cast<int>(arguments_.size()), arguments_.data());
    }

    std::string path_;
    std::vector<const char*> arguments_;
};

using Names = std::vector<std::string>;

TEST_F(ReloadTest, SaysWhatChanged) {
    write("in_flight_max: 5\nlisten: 127.0.0.1:1\nsession_secret: a\n");
    const auto before = source()();
    ASSERT_TRUE(before.ok()) << before.error().message;
    write("in_flight_max: 6\nlisten: 127.0.0.1:2\nsession_secret: b\nlog_level: debug\n");
    const auto after = source()();
    ASSERT_TRUE(after.ok()) << after.error().message;
    const ReloadReport report = compare(*before, *after);
    EXPECT_EQ(std::set<std::string>(report.changed.begin(), report.changed.end()),
              (std::set<std::string>{"in_flight_max", "listen", "log_level", "session_secret"}));
    EXPECT_EQ(report.needs_restart, (Names{"listen", "session_secret"}));
    EXPECT_NE(before->fingerprint, after->fingerprint);
    EXPECT_TRUE(compare(*after, *after).changed.empty());
    for (const Options::Setting& setting : after->settings) {
        if (setting.name == "session_secret") {
            EXPECT_EQ(setting.value, "set");
        }
    }
}

TEST_F(ReloadTest, SeesANodeThatChanged) {
    write("nodes:\n  - {id: a, address: '127.0.0.1:1'}\n");
    const auto before = source()();
    write("nodes:\n  - {id: a, address: '127.0.0.1:2'}\n");
    const auto after = source()();
    ASSERT_TRUE(before.ok() && after.ok());
    EXPECT_EQ(compare(*before, *after).changed, Names{"nodes"});
}

TEST_F(ReloadTest, ABadFileChangesNothing) {
    asio::io_context io;
    write("in_flight_max: 5\n");
    auto first = source()();
    ASSERT_TRUE(first.ok());
    RouterCore core(io, first->config, nullptr, SystemClock::instance());
    core.source = source();
    core.loaded = *first;
    write("in_flight_max: 6\nlisten: nowhere\n");
    const auto failed = core.reload();
    ASSERT_FALSE(failed.ok());
    EXPECT_NE(failed.error().message.find(path_ + ":2:1: listen"), std::string::npos)
        << failed.error().message;
    EXPECT_EQ(core.config->in_flight_max, 5);
    write("in_flight_max: 7\n");
    ASSERT_TRUE(core.reload().ok());
    EXPECT_EQ(core.config->in_flight_max, 7);
    const std::string metrics = core.metrics.expose(*core.membership.now(), false);
    EXPECT_NE(metrics.find("hearth_config_last_reload_successful{component=\"router\"} 1"),
              std::string::npos);
}

}  // namespace
}  // namespace hearth
