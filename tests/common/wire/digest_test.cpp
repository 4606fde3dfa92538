// SHA-256 of files against the examples of FIPS 180-4.
#include "common/wire/digest.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdio>
#include <fstream>

namespace hearth {
namespace {

std::string digest_of(const std::string& content) {
    const std::string path = testing::TempDir() + "digest_test." + std::to_string(getpid());
    std::ofstream(path, std::ios::binary) << content;
    const auto digest = sha256_of_file(path);
    std::remove(path.c_str());
    return digest.ok() ? *digest : digest.error().message;
}

TEST(Digest, MatchesThePublishedExamples) {
    EXPECT_EQ(digest_of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    EXPECT_EQ(digest_of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    // A million times 'a': more than one of the blocks in which the file is read.
    EXPECT_EQ(digest_of(std::string(1'000'000, 'a')),
              "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PiecesDoNotMatterAndItStartsOver) {
    Sha256 whole, pieces;
    const std::string text = "the quick brown fox jumps over the lazy dog, twice and more";
    whole.add(text);
    for (const char c : text) pieces.add({&c, 1});
    pieces.add("");
    const auto digest = whole.digest();
    EXPECT_EQ(pieces.digest(), digest);
    const auto of_nothing = whole.digest();
    EXPECT_EQ(of_nothing[0], 0xe3);  // FIPS 180-4: e3b0c442...
    EXPECT_EQ(of_nothing[31], 0x55);
    whole.add(text);
    EXPECT_EQ(whole.digest(), digest);
}

TEST(Digest, NamesTheFileItCannotRead) {
    const auto digest = sha256_of_file("/nonexistent/file");
    ASSERT_FALSE(digest.ok());
    EXPECT_EQ(digest.error().code, ErrorCode::kNotFound);
    EXPECT_NE(digest.error().message.find("/nonexistent/file"), std::string::npos);
    EXPECT_FALSE(sha256_of_file(testing::TempDir()).ok());
}

}  // namespace
}  // namespace hearth
