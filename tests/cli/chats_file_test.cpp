// Chats files: what is read, and that every error names file and line.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "cli/chats_file.h"

namespace hearth::cli {
namespace {

class ChatsFile : public testing::Test {
  protected:
    void write(const std::string& text) { std::ofstream(path_) << text; }
    void TearDown() override { std::remove(path_.c_str()); }
    const std::string path_ = std::filesystem::temp_directory_path().string() + "/hearth-chats-" +
                              std::to_string(::getpid()) + ".jsonl";
};

TEST_F(ChatsFile, KeepsUserTurnsAndTheSystemPrompt) {
    write(R"({"id":"a","system":"S","turns":[{"role":"user","text":"1"},)"
          R"({"role":"assistant","text":"x"},)"
          R"({"role":"user","text":"2"}]})"
          "\n\n"
          R"({"id":"b","turns":[{"role":"system","text":"T"},{"role":"user","text":"3"}]})"
          "\n"
          R"({"id":"none","turns":[]})"
          "\n");
    auto chats = read_chats(path_, 100, 100);
    ASSERT_TRUE(chats.ok());
    ASSERT_EQ(chats->size(), 2u);
    EXPECT_EQ((*chats)[0].user_turns, (std::vector<std::string>{"1", "2"}));
    EXPECT_EQ((*chats)[0].system, "S");
    EXPECT_EQ((*chats)[1].system, "T");
}

TEST_F(ChatsFile, LimitsChatsAndTurns) {
    for (int i = 0; i < 2; ++i)
        write(R"({"id":"a","turns":[{"role":"user","text":"1"},{"role":"user","text":"2"}]})"
              "\n"
              R"({"id":"b","turns":[{"role":"user","text":"3"}]})"
              "\n");
    auto chats = read_chats(path_, 1, 1);
    ASSERT_TRUE(chats.ok());
    ASSERT_EQ(chats->size(), 1u);
    EXPECT_EQ((*chats)[0].user_turns, std::vector<std::string>{"1"});
}

TEST_F(ChatsFile, ErrorsNameFileLineAndField) {
    const std::string good = R"({"id":"a","turns":[{"role":"user","text":"1"}]})";
    for (const auto& [bad, word] : std::vector<std::pair<std::string, std::string>>{
             {"nonsense", "not JSON"},
             {"[1]", "not a JSON object"},
             {R"({"turns":[]})", "'id'"},
             {R"({"id":"x"})", "'turns'"},
             {R"({"id":"x","turns":[{"role":"user"}]})", "turns[0]"},
             {R"({"id":"a","turns":[{"role":"user","text":"2"}]})", "twice"}}) {
        write(good + "\n" + bad + "\n");
        auto chats = read_chats(path_, 100, 100);
        ASSERT_FALSE(chats.ok()) << bad;
        EXPECT_NE(chats.error().message.find(path_ + ":2"), std::string::npos)
            << chats.error().message;
        EXPECT_NE(chats.error().message.find(word), std::string::npos) << chats.error().message;
    }
    EXPECT_EQ(read_chats("/no/such/file", 1, 1).error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace hearth::cli
