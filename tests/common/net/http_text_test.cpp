// error_body and split_host_port: valid JSON whatever the text, and addresses that are not guessed.
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "common/net/http_server.h"

namespace hearth {
namespace {

TEST(ErrorBody, HasOpenAiShape) {
    EXPECT_EQ(error_body("no such model", "invalid_request_error", "model", ""),
              "{\"error\":{\"message\":\"no such model\",\"type\":\"invalid_request_error\","
              "\"param\":\"model\",\"code\":null}}");
}

TEST(ErrorBody, IsValidJsonForAnyBytes) {
    std::string nasty;
    for (int i = 0; i < 256; ++i) nasty.push_back(static_cast<char>(i));
    nasty += "caf\xc3\xa9 \xf0\x9f\x98\x80 \xed\xa0\x80 \xc0\x80 \xf5\x80\x80\x80 \xe2\x82";
    boost::system::error_code ec;
    const boost::json::value value = boost::json::parse(error_body(nasty, nasty, "", nasty), ec);
    ASSERT_FALSE(ec) << ec.message();
    const std::string message(value.at("error").at("message").as_string());
    EXPECT_NE(message.find("caf\xc3\xa9 \xf0\x9f\x98\x80"), std::string::npos);
    EXPECT_NE(message.find("\\"), std::string::npos);
    EXPECT_TRUE(value.at("error").at("param").is_null());
}

TEST(SplitHostPort, TakesNamesAndAddresses) {
    using Pair = std::pair<std::string, std::uint16_t>;
    EXPECT_EQ(*split_host_port("localhost:80"), Pair("localhost", 80));
    EXPECT_EQ(*split_host_port("10.0.0.1:65535"), Pair("10.0.0.1", 65535));
    EXPECT_EQ(*split_host_port("[::1]:8080"), Pair("::1", 8080));
    EXPECT_EQ(*split_host_port("[fe80::1%eth0]:0"), Pair("fe80::1%eth0", 0));
}

TEST(SplitHostPort, ErrorNamesTheText) {
    for (const char* text :
         {"", "host", ":80", "host:", "host:x", "host:80x", "host:65536", "host:-1", "::1:80",
          "[::1]", "[]:80", "[::1:80", "a]:80", "*:80", "http://h:80", "a b:80", "'h':80"}) {
        const auto split = split_host_port(text);
        ASSERT_FALSE(split.ok()) << text;
        EXPECT_NE(split.error().message.find("'" + std::string(text) + "'"), std::string::npos);
    }
}

}  // namespace
}  // namespace hearth
