// TurnStream: order, merging, the bound, and waking from another thread.
#include "cachenode/api/turn_stream.h"

#include <gtest/gtest.h>
#include <thread>

namespace hearth {
namespace {

TurnEvent token(std::string text) {
    TurnEvent event;
    event.text = std::move(text);
    return event;
}

TurnEvent done() {
    TurnEvent event;
    event.kind = TurnEvent::Kind::kDone;
    return event;
}

Task<void> read_until_done(std::shared_ptr<TurnStream> stream, std::string& text, bool& ended) {
    while (true) {
        const std::vector<TurnEvent> events = co_await stream->next();
        if (events.empty()) co_return;
        for (const TurnEvent& event : events) {
            EXPECT_FALSE(ended) << "an event after the last one";
            text += event.text;
            ended = event.kind == TurnEvent::Kind::kDone;
        }
        if (ended) co_return;
    }
}

TEST(TurnStream, KeepsOrderAndMergesWhatWaitsTooLong) {
    asio::io_context io;
    auto stream = std::make_shared<TurnStream>(io.get_executor());
    for (std::size_t i = 1; i < TurnStream::kEventsMax; ++i) stream->push(token("."));
    for (const char* text : {"a", "b", "c"}) stream->push(token(text));
    stream->push(done());
    std::vector<TurnEvent> events;
    asio::co_spawn(io, stream->next(),
                   [&](std::exception_ptr, std::vector<TurnEvent> got) { events = got; });
    io.run();
    ASSERT_EQ(events.size(), TurnStream::kEventsMax + 1);
    EXPECT_EQ(events[0].text, ".");
    EXPECT_EQ(events[TurnStream::kEventsMax - 1].text, "abc");
    EXPECT_EQ(events[TurnStream::kEventsMax].kind, TurnEvent::Kind::kDone);
}

TEST(TurnStream, WakesFromAnotherThread) {
    asio::io_context io;
    auto stream = std::make_shared<TurnStream>(io.get_executor());
    std::string text, want;
    bool ended = false;
    asio::co_spawn(io, read_until_done(stream, text, ended), [](std::exception_ptr e) {
        if (e) std::rethrow_exception(e);
    });
    for (int i = 0; i < 2000; ++i) want += std::to_string(i) + ",";
    std::thread producer([&] {
        for (int i = 0; i < 2000; ++i) stream->push(token(std::to_string(i) + ","));
        stream->push(done());
    });
    io.run();
    producer.join();
    EXPECT_TRUE(ended);
    EXPECT_EQ(text, want);
}

TEST(TurnStream, ClientGoneEndsTheWait) {
    asio::io_context io;
    auto stream = std::make_shared<TurnStream>(io.get_executor());
    bool ended = false, finished = false;
    std::string text;
    asio::co_spawn(io, read_until_done(stream, text, ended),
                   [&](std::exception_ptr) { finished = true; });
    asio::post(io, [&] { stream->client_gone(); });
    io.run();
    EXPECT_TRUE(finished);
    EXPECT_FALSE(ended);
}

TEST(TurnStream, GivesUpBeyondTheBound) {
    asio::io_context io;
    auto stream = std::make_shared<TurnStream>(io.get_executor());
    int given_up = 0;
    stream->on_overflow([&] { ++given_up; });
    const std::string piece(1000, 'x');
    for (std::size_t sent = 0; sent < 2 * TurnStream::kBufferedBytesMax; sent += piece.size())
        stream->push(token(piece));
    stream->push(done());
    io.run();
    EXPECT_EQ(given_up, 1);
    std::vector<TurnEvent> events(1);
    asio::co_spawn(io, stream->next(),
                   [&](std::exception_ptr, std::vector<TurnEvent> got) { events = got; });
    io.restart();
    io.run();
    EXPECT_TRUE(events.empty());
}

}  // namespace
}  // namespace hearth
