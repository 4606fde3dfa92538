// StopMatcher: the same result however the text is cut, against a search in the whole text.
#include "engine/text/stop_strings.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <random>

#include "common/base/rng.h"

namespace hearth::engine {
namespace {

TEST(StopMatcher, HoldsBackWhatMayBecomeAStop) {
    StopMatcher matcher({"\nUser:"});
    EXPECT_EQ(matcher.add("hi\nUs").text, "hi");
    EXPECT_EQ(matcher.add("ual").text, "\nUsual");
    EXPECT_EQ(matcher.add("\n").text, "");
    const auto step = matcher.add("User: more");
    EXPECT_EQ(step.text, "");
    EXPECT_TRUE(step.matched);
    EXPECT_TRUE(matcher.add("later").matched);
    EXPECT_EQ(matcher.add("later").text, "");
    EXPECT_EQ(matcher.finish(), "");
}

TEST(StopMatcher, FinishGivesBackWhatWasHeld) {
    StopMatcher matcher({"abc", "bd"});
    EXPECT_EQ(matcher.add("xab").text, "x");
    EXPECT_EQ(matcher.finish(), "ab");
    EXPECT_FALSE(matcher.matched());
}

TEST(StopMatcher, OverlapsAndSelfOverlaps) {
    StopMatcher self({"aab"});
    const auto step = self.add("aaab");
    EXPECT_EQ(step.text, "a");
    EXPECT_TRUE(step.matched);
    StopMatcher first_complete({"abcd", "bc"});
    EXPECT_EQ(first_complete.add("xabcd").text, "xa");
    StopMatcher longest({"c", "bc"});
    EXPECT_EQ(longest.add("abc").text, "a");
}

TEST(StopMatcher, NoStopsPassEverything) {
    StopMatcher matcher({"", ""});
    EXPECT_EQ(matcher.add("anything").text, "anything");
    EXPECT_EQ(matcher.finish(), "");
}

// The stop that is complete first, searched in the whole text.
std::string before_stop(const std::string& text, const std::vector<std::string>& stops) {
    for (std::size_t end = 1; end <= text.size(); ++end) {
        std::size_t longest = 0;
        for (const std::string& stop : stops) {
            const std::string_view head = std::string_view(text).substr(0, end);
            if (head.ends_with(stop)) longest = std::max(longest, stop.size());
        }
        if (longest > 0) return text.substr(0, end - longest);
    }
    return text;
}

TEST(StopMatcher, AgreesWithTheWholeTextHoweverItIsCut) {
    const std::uint64_t seed = std::random_device{}();
    std::cout << "seed " << seed << "\n";
    Rng rng(seed);
    const auto word = [&](std::uint64_t length) {
        std::string text;
        while (text.size() < length) text.push_back(static_cast<char>('a' + rng.below(2)));
        return text;
    };
    for (int round = 0; round < 2000; ++round) {
        std::vector<std::string> stops;
        for (std::uint64_t n = 1 + rng.below(4); n > 0; --n)
            stops.push_back(word(2 + rng.below(6)));
        const std::string text = word(rng.below(40));
        StopMatcher matcher(stops);
        std::string got;
        for (std::size_t at = 0; at < text.size() && !matcher.matched();) {
            const std::size_t n = std::min<std::size_t>(1 + rng.below(5), text.size() - at);
            got += matcher.add(text.substr(at, n)).text;
            at += n;
        }
        got += matcher.finish();
        ASSERT_EQ(got, before_stop(text, stops)) << text;
    }
}

}  // namespace
}  // namespace hearth::engine
