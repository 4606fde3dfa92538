// Ids of responses: what one program writes the other reads.
#include "common/wire/response_id.h"

#include <gtest/gtest.h>

namespace hearth {
namespace {

TEST(ResponseId, HoldsItsSession) {
    const SessionKey session{0x0123456789abcdefULL, 0xfedcba9876543210ULL};
    const std::string id = response_id(session, 77);
    EXPECT_EQ(id, "resp_0123456789abcdeffedcba9876543210000000000000004d");
    EXPECT_EQ(session_of_response(id), session);
    EXPECT_NE(response_id(session, 78), id);
}

TEST(ResponseId, IsNothingElse) {
    const std::string id = response_id({1, 2}, 3);
    for (const std::string& other :
         {std::string(), std::string("resp_"), id + "0", id.substr(0, id.size() - 1),
          "RESP_" + id.substr(5), "resp-" + id.substr(5), id.substr(0, 6) + "G" + id.substr(7),
          id.substr(0, 6) + "A" + id.substr(7)})
        EXPECT_FALSE(session_of_response(other)) << other;
}

}  // namespace
}  // namespace hearth
