// The inbox: bounded, in order, closable, and wakes its reader.
#include "cachenode/scheduler/inbox.h"

#include <gtest/gtest.h>

#include <thread>

namespace hearth {
namespace {

TEST(Inbox, IsBoundedByTurnsThatStillWait) {
    Inbox inbox(2);
    EXPECT_EQ(inbox.submit({}).value(), 1u);
    EXPECT_EQ(inbox.submit({}).value(), 2u);
    EXPECT_EQ(inbox.submit({}).error().code, ErrorCode::kExhausted);
    EXPECT_EQ(inbox.take().turns.size(), 2u);
    EXPECT_EQ(inbox.submit({}).error().code, ErrorCode::kExhausted);  // Taken, still waiting.
    inbox.left_queue(1);
    EXPECT_EQ(inbox.submit({}).value(), 3u);
}

TEST(Inbox, GivesMailOnceAndInOrder) {
    Inbox inbox(10);
    const TurnId first = inbox.submit({}).value();
    inbox.cancel(first);
    const TurnId second = inbox.submit({}).value();
    const Inbox::Mail mail = inbox.take();
    ASSERT_EQ(mail.turns.size(), 2u);
    EXPECT_EQ(mail.turns[1].id, second);
    EXPECT_EQ(mail.cancels, std::vector<TurnId>{first});
    EXPECT_TRUE(inbox.take().turns.empty());
}

TEST(Inbox, MailAndClosingWakeTheReader) {
    Inbox inbox(10);
    std::vector<bool> woken;
    std::thread reader([&] {
        woken.push_back(inbox.wait());
        inbox.take();
        woken.push_back(inbox.wait());
    });
    ASSERT_TRUE(inbox.submit({}).ok());
    inbox.close();
    reader.join();
    EXPECT_FALSE(woken.back());
    EXPECT_TRUE(inbox.is_closed());
    EXPECT_EQ(inbox.submit({}).error().code, ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace hearth
