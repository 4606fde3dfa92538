// What a support bundle must not say, and that what it needs stays; and the archive's format.
#include "cli/redactor.h"

#include <gtest/gtest.h>

#include "cli/tar.h"

namespace hearth::cli {
namespace {

TEST(Redactor, KnownSecretsAppearNowhere) {
    Redactor redactor;
    redactor.add("hunter2hunter2");
    redactor.add("short");
    EXPECT_EQ(redactor.clean("a hunter2hunter2 b hunter2hunter2\n"), "a <redacted> b <redacted>\n");
    EXPECT_EQ(redactor.clean("a short word\n"), "a short word\n");
}

TEST(Redactor, TakesOutWhatLooksLikeOne) {
    const Redactor redactor;
    for (const auto& [text, clean] : std::vector<std::pair<std::string, std::string>>{
             {"Authorization: Bearer abc.def", "Authorization: Bearer <redacted>"},
             {"redis://:pass@host:1", "redis://:<redacted>@host:1"},
             {"http://user:pa55@host/x", "http://user:<redacted>@host/x"},
             {"key hk-0123456789abcdef0123", "key <redacted>"},
             {R"({"token":"abc","x":1})", R"({"token":"<redacted>","x":1})"},
             {"redis_password=xyz level=info", "redis_password=<redacted> level=info"},
             {"keys: ['sha256:0123456789abcdef0123456789abcdef']", "keys: ['sha256:<redacted>']"}})
        EXPECT_EQ(redactor.clean(text), clean + "\n");
}

TEST(Redactor, LeavesWhatHelps) {
    const Redactor redactor;
    for (const std::string text :
         {"prompt_tokens=120 cached_tokens=99 node=node-1", "http://10.0.0.1:8080/v1/models",
          "key_source=header", "hearth_engine_prompt_tokens_total{source=\"computed\"} 12",
          "session_secret_file: \"/etc/hearth/secret\""})
        EXPECT_EQ(redactor.clean(text), text + "\n");
    std::string object = "{";
    for (int i = 0; i < 2'000; ++i) object += R"("name":"value","token":"abcdefgh",)";
    const std::string clean = redactor.clean(object);
    EXPECT_EQ(clean.find("abcdefgh"), std::string::npos);
    EXPECT_EQ(clean.size(), object.size() + 1 + 2'000 * 2) << "<redacted> has 2 bytes more";
    EXPECT_EQ(redactor.clean(std::string(10'000, 'x')), std::string(10'000, 'x') + "\n");
}

TEST(Tar, HasHeadersAndPadding) {
    const std::string tar = tar_of({{"a/b.txt", "hello"}, {"c", ""}}, 1'700'000'000);
    ASSERT_EQ(tar.size(), 512u * 5);
    EXPECT_EQ(tar.substr(0, 7), "a/b.txt");
    EXPECT_EQ(tar.substr(257, 5), "ustar");
    EXPECT_EQ(tar.substr(124, 11), "00000000005");
    EXPECT_EQ(tar.substr(512, 5), "hello");
    EXPECT_EQ(tar[1024], 'c');
}

}  // namespace
}  // namespace hearth::cli
