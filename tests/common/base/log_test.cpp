// log: shape and quoting of lines, JSON, limits, filtering, and a stderr that nobody reads.
#include "common/base/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <climits>
#include <limits>
#include <sstream>
#include <thread>
#include <vector>

#include "common/base/rng.h"

namespace hearth {
namespace {

class LogTest : public testing::Test {
  protected:
    void SetUp() override { log::set_program("test"); }
    void TearDown() override {
        log::set_level(log::Level::kInfo);
        log::set_json(false);
    }
};

template <typename Act>
std::string captured(Act act) {
    testing::internal::CaptureStderr();
    act();
    return testing::internal::GetCapturedStderr();
}

// What follows the time stamp.
std::string rest_of(const std::string& line) {
    return line.substr(line.find(' ') + 1);
}

TEST_F(LogTest, OneLineOfKeysAndValues) {
    const std::string line = captured([] {
        log::info("node joined", {{"node", "a"}, {"load", 1.5}, {"tokens", 42}, {"warm", true}});
    });
    EXPECT_EQ(
        rest_of(line),
        "level=info program=test event=\"node joined\" node=a load=1.5 tokens=42 warm=true\n");
    // ts=2026-01-01T00:00:00.000Z
    ASSERT_EQ(line.find(' '), 27u) << line;
    const std::string shape = "ts=dddd-dd-ddTdd:dd:dd.dddZ";
    for (std::size_t i = 0; i < shape.size(); ++i) {
        if (shape[i] == 'd')
            EXPECT_TRUE(std::isdigit(static_cast<unsigned char>(line[i]))) << line;
        else
            EXPECT_EQ(line[i], shape[i]) << line;
    }
}

TEST_F(LogTest, ValuesThatCouldForgeFieldsAreQuoted) {
    const auto value = [](std::string_view v) {
        const std::string line = captured([v] { log::info("e", {{"k", v}}); });
        return line.substr(line.find(" k=") + 3);
    };
    EXPECT_EQ(value("plain"), "plain\n");
    EXPECT_EQ(value(""), "\"\"\n");
    EXPECT_EQ(value("a b"), "\"a b\"\n");
    EXPECT_EQ(value("a=b"), "\"a=b\"\n");
    EXPECT_EQ(value("say \"hi\""), "\"say \\\"hi\\\"\"\n");
    EXPECT_EQ(value("a\nlevel=error"), "\"a\\nlevel=error\"\n");
    EXPECT_EQ(value("\r\x1b[2J\x7f"), "\"\\u000d\\u001b[2J\\u007f\"\n");
    EXPECT_EQ(value("h\xc3\xa9"), "\"h\xc3\xa9\"\n");
    EXPECT_EQ(value("bad\xff\xc3"), "\"bad\\ufffd\\ufffd\"\n");
}

TEST_F(LogTest, NumbersOfEveryKind) {
    const std::string line = captured([] {
        log::info("e", {{"min", std::numeric_limits<std::int64_t>::min()},
                        {"max", std::numeric_limits<std::uint64_t>::max()},
                        {"small", static_cast<short>(-3)},
                        {"nan", std::numeric_limits<double>::quiet_NaN()},
                        {"low", -std::numeric_limits<double>::infinity()}});
    });
    EXPECT_EQ(line.substr(line.find("min=")),
              "min=-9223372036854775808 max=18446744073709551615 small=-3 nan=nan low=-inf\n");
}

TEST_F(LogTest, FilterHoldsBackLowerLevels) {
    const auto all = [] {
        log::debug("d");
        log::info("i");
        log::warn("w");
        log::error("e");
    };
    const auto lines = [](const std::string& text) {
        return std::count(text.begin(), text.end(), '\n');
    };
    EXPECT_EQ(lines(captured(all)), 3);
    EXPECT_TRUE(log::set_level("error"));
    EXPECT_EQ(lines(captured(all)), 1);
    EXPECT_TRUE(log::set_level("debug"));
    EXPECT_EQ(lines(captured(all)), 4);
    EXPECT_FALSE(log::set_level("loud"));
    EXPECT_EQ(lines(captured(all)), 4);
}

TEST_F(LogTest, JsonLinesParseWhateverIsLogged) {
    constexpr std::uint64_t kSeed = 7;
    SCOPED_TRACE("seed " + std::to_string(kSeed));
    Rng rng(kSeed);
    log::set_json(true);
    for (int i = 0; i < 300; ++i) {
        std::string value;
        for (std::uint64_t n = rng.below(60); n > 0; --n)
            value += static_cast<char>(rng.below(4) == 0 ? rng.below(256) : 0xc0 + rng.below(64));
        const std::string line = captured([&value] {
            log::warn("an \"event\"", {{"text", value},
                                       {"count", 3u},
                                       {"ratio", std::numeric_limits<double>::infinity()},
                                       {"ok", false}});
        });
        boost::json::error_code bad;
        const auto parsed = boost::json::parse(line, bad);
        ASSERT_FALSE(bad) << bad.message() << ": " << line;
        EXPECT_EQ(parsed.at("event"), "an \"event\"");
        EXPECT_EQ(parsed.at("level"), "warn");
        EXPECT_EQ(parsed.at("count"), 3);
        EXPECT_EQ(parsed.at("ok"), false);
        EXPECT_TRUE(parsed.at("text").is_string());
    }
}

TEST_F(LogTest, LongTextsAreCutAndTheLineStaysValid) {
    log::set_json(true);
    const std::string huge(100'000, '\x01');
    const std::string line = captured([&huge] {
        log::info(huge, {{"a", huge}, {"b", huge}, {"c", huge}, {"d", huge}, {"e", huge}});
    });
    EXPECT_LE(line.size(), static_cast<std::size_t>(PIPE_BUF));
    boost::json::error_code bad;
    const auto parsed = boost::json::parse(line, bad);
    ASSERT_FALSE(bad) << bad.message();
    EXPECT_EQ(parsed.at("cut"), true);
    EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
}

// Stands in for stderr with a pipe of ours.
class PipedStderr {
  public:
    PipedStderr() : saved_(dup(STDERR_FILENO)) {
        EXPECT_EQ(pipe2(ends_, O_CLOEXEC), 0);
        dup2(ends_[1], STDERR_FILENO);
    }
    ~PipedStderr() {
        dup2(saved_, STDERR_FILENO);
        close(saved_);
        close(ends_[1]);
        if (ends_[0] >= 0) close(ends_[0]);
    }
    void close_reader() {
        close(ends_[0]);
        ends_[0] = -1;
    }
    // Everything that is in the pipe now.
    std::string drain() {
        std::string all;
        char block[65536];
        pollfd reader = {ends_[0], POLLIN, 0};
        while (poll(&reader, 1, 0) == 1) {
            const ssize_t n = read(ends_[0], block, sizeof(block));
            if (n <= 0) break;
            all.append(block, static_cast<std::size_t>(n));
        }
        return all;
    }

  private:
    int saved_;
    int ends_[2] = {-1, -1};
};

TEST_F(LogTest, APipeNobodyReadsDropsLinesAndSaysHowMany) {
    PipedStderr stderr_pipe;
    constexpr int kLines = 3'000;
    const std::string text(200, 'x');
    for (int i = 0; i < kLines; ++i) log::info("line", {{"text", text}});  // Far beyond 64 KiB.
    const std::string first = stderr_pipe.drain();
    const auto written = std::count(first.begin(), first.end(), '\n');
    EXPECT_GT(written, 10);
    EXPECT_LT(written, kLines);
    EXPECT_EQ(first.back(), '\n') << "a line was cut in two";
    log::info("after");
    const std::string second = stderr_pipe.drain();
    EXPECT_NE(second.find("event=after dropped=" + std::to_string(kLines - written) + "\n"),
              std::string::npos)
        << second;
    log::info("again");
    EXPECT_EQ(stderr_pipe.drain().find("dropped"), std::string::npos);
}

TEST_F(LogTest, AClosedReaderDoesNotKillTheProgram) {
    {
        PipedStderr stderr_pipe;
        stderr_pipe.close_reader();
        log::info("nobody hears this");  // SIGPIPE would end the test here.
    }
    const std::string line = captured([] { log::info("heard"); });
    EXPECT_NE(line.find("event=heard dropped=1\n"), std::string::npos) << line;
}

TEST_F(LogTest, GatheredLinesLeaveWithTheFlushOrWithAWarning) {
    PipedStderr stderr_pipe;
    int asked = 0;
    log::batch([&asked] { ++asked; });
    log::info("one");
    log::info("two");
    EXPECT_EQ(stderr_pipe.drain(), "");
    EXPECT_EQ(asked, 1);  // For both.
    log::flush();
    std::string text = stderr_pipe.drain();
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2) << text;
    EXPECT_LT(text.find("event=one"), text.find("event=two"));
    log::info("three");
    log::warn("four");
    text = stderr_pipe.drain();
    EXPECT_LT(text.find("event=three"), text.find("event=four"));
    EXPECT_NE(text.find("event=four"), std::string::npos) << text;
    EXPECT_EQ(asked, 2);
    // More than one write takes: what is full leaves by itself, in whole lines.
    const std::string long_text(900, 'x');
    for (int i = 0; i < 5; ++i) log::info("long", {{"text", long_text}});
    text = stderr_pipe.drain();
    EXPECT_LE(text.size(), static_cast<std::size_t>(PIPE_BUF));
    EXPECT_GE(std::count(text.begin(), text.end(), '\n'), 3);
    EXPECT_EQ(text.back(), '\n');
    log::batch(nullptr);
    EXPECT_NE(stderr_pipe.drain().find("event=long"), std::string::npos);
    log::info("at once");
    EXPECT_NE(stderr_pipe.drain().find("at once"), std::string::npos);
}

TEST_F(LogTest, AFileTakesALongBatchWhole) {
    constexpr int kLines = 200;  // Of about 1,050 bytes: several pieces.
    const std::string text = captured([] {
        log::batch([] {});
        for (int i = 0; i < kLines; ++i)
            log::info("turn", {{"number", i}, {"text", std::string(950, 'x')}});
        log::batch(nullptr);
    });
    std::istringstream lines(text);
    std::string line;
    for (int i = 0; i < kLines; ++i) {
        ASSERT_TRUE(std::getline(lines, line));
        EXPECT_NE(line.find(" number=" + std::to_string(i) + " text=xxx"), std::string::npos) << i;
        EXPECT_TRUE(line.ends_with("xxx")) << i;
    }
    EXPECT_FALSE(std::getline(lines, line));
}

TEST_F(LogTest, DroppedLinesOfABatchAreCounted) {
    PipedStderr stderr_pipe;
    log::batch([] {});
    stderr_pipe.close_reader();
    for (int i = 0; i < 3; ++i) log::info("nobody hears this");
    log::batch(nullptr);
    const std::string line = captured([] { log::info("heard"); });
    EXPECT_NE(line.find("event=heard dropped=3\n"), std::string::npos) << line;
}

TEST_F(LogTest, RealNumbersAreTheShortestTextThatMeansThem) {
    Rng rng(3);
    const auto logged = [](double value) {
        const std::string line = captured([value] { log::info("e", {{"v", value}}); });
        return line.substr(line.find(" v=") + 3);
    };
    EXPECT_EQ(logged(0), "0\n");
    EXPECT_EQ(logged(0.001), "0.001\n");
    EXPECT_EQ(logged(12.05), "12.05\n");
    EXPECT_EQ(logged(99999.999), "99999.999\n");
    EXPECT_EQ(logged(0.12345), "0.12345\n");
    EXPECT_EQ(logged(-0.5), "-0.5\n");
    for (int i = 0; i < 200; ++i) {
        const double value = static_cast<double>(rng.below(100'000'000)) / 1e3;
        EXPECT_EQ(std::stod(logged(value)), value);
    }
}

TEST_F(LogTest, LinesOfManyThreadsStayWhole) {
    const std::string all = captured([] {
        std::vector<std::thread> threads;
        for (int t = 0; t < 4; ++t)
            threads.emplace_back([t] {
                const std::string text(300, static_cast<char>('a' + t));
                for (int i = 0; i < 200; ++i) log::info("e", {{"text", text}});
            });
        for (auto& thread : threads) thread.join();
    });
    std::istringstream lines(all);
    int count = 0;
    for (std::string line; std::getline(lines, line); ++count) {
        const std::string text = line.substr(line.find("text=") + 5);
        ASSERT_EQ(text, std::string(300, text[0])) << line;
    }
    EXPECT_EQ(count, 800);
}

}  // namespace
}  // namespace hearth
