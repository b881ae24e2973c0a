#include "core/base/text.h"

#include <gtest/gtest.h>

namespace topspin {
namespace {

TEST(Sanitize, LeavesOrdinaryTextAlone) {
  EXPECT_EQ(sanitize_for_terminal("udp port 8888"), "udp port 8888");
  EXPECT_EQ(sanitize_for_terminal("naïve 日本 😀"), "naïve 日本 😀");
}

TEST(Sanitize, ShowsWhatSteersATerminal) {
  EXPECT_EQ(sanitize_for_terminal("\x1b[31mred\n\t\r"), "\\x1b[31mred\\x0a\\x09\\x0d");
  EXPECT_EQ(sanitize_for_terminal("\x7f"), "\\x7f");
  EXPECT_EQ(sanitize_for_terminal("\xc2\x9b"
                                  "31m"),
            "\\u{009b}31m");                                    // C1 CSI
  EXPECT_EQ(sanitize_for_terminal("a\u202eb"), "a\\u{202e}b");  // right-to-left override
  EXPECT_EQ(sanitize_for_terminal("a\u200bb\ufeff"), "a\\u{200b}b\\u{feff}");  // zero width
  EXPECT_EQ(sanitize_for_terminal("\u2028"), "\\u{2028}");                     // line separator
}

TEST(Sanitize, ShowsBytesThatAreNoUtf8) {
  EXPECT_EQ(sanitize_for_terminal("\xff\xfe"), "\\xff\\xfe");
  EXPECT_EQ(sanitize_for_terminal("\xc0\xaf"), "\\xc0\\xaf");           // overlong
  EXPECT_EQ(sanitize_for_terminal("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // surrogate
  EXPECT_EQ(sanitize_for_terminal("\xe2\x82"), "\\xe2\\x82");           // cut short
  EXPECT_EQ(sanitize_for_terminal(std::string_view("\0", 1)), "\\x00");
}

TEST(Duration, ParsesUnitsAndRefusesNonsense) {
  EXPECT_EQ(parse_duration("1"), 1'000'000'000);
  EXPECT_EQ(parse_duration("250ms"), 250'000'000);
  EXPECT_EQ(parse_duration("1.5 s"), 1'500'000'000);
  EXPECT_EQ(parse_duration("2m"), 120'000'000'000);
  EXPECT_EQ(parse_duration("100ns"), 100);
  EXPECT_EQ(parse_duration("1m30s"), 90'000'000'000);
  EXPECT_EQ(parse_duration("1h 1ms"), 3'600'001'000'000);
  EXPECT_EQ(parse_duration("3sec"), 3'000'000'000);
  EXPECT_EQ(parse_duration("7d"), 7 * 86'400'000'000'000);
  for (const char* bad : {"", "s", "-1s", "1x", "1e9", "nan", "inf", "99999999999999h", "1m30",
                          "1 2", "1s-1s", "1s,"}) {
    EXPECT_EQ(parse_duration(bad), std::nullopt) << bad;
  }
}

TEST(Bytes, AreParsedWithUnitsOrRefused) {
  EXPECT_EQ(parse_bytes("512"), 512u);
  EXPECT_EQ(parse_bytes("64MiB"), 64u << 20);
  EXPECT_EQ(parse_bytes(" 1.5 kB "), 1500u);
  EXPECT_EQ(parse_bytes("2GB"), 2'000'000'000u);
  EXPECT_EQ(parse_bytes("0"), 0u);
  for (const char* wrong : {"", "MB", "-1", "1XB", "1 M B", "1e300", "nan", "99999999TB"})
    EXPECT_EQ(parse_bytes(wrong), std::nullopt) << wrong;
}

TEST(Format, DurationsAndBytesHaveThreeDigits) {
  EXPECT_EQ(format_duration(0), "0");
  EXPECT_EQ(format_duration(812), "812ns");
  EXPECT_EQ(format_duration(1'250'000), "1.25ms");
  EXPECT_EQ(format_duration(-3'000'000'000), "-3.00s");
  EXPECT_EQ(format_duration(999'999), "1.00ms");
  EXPECT_EQ(format_exact(0), "0");
  EXPECT_EQ(format_exact(123), "123");
  EXPECT_EQ(format_exact(1'234'567), "1,234,567");
  EXPECT_EQ(format_bytes(812), "812 B");
  EXPECT_EQ(format_bytes(3ll << 30), "3.00 GiB");
  EXPECT_EQ(format_bytes((1ll << 20) - 1), "1.00 MiB");
}

TEST(Format, UtcIsIso8601) {
  EXPECT_EQ(format_utc(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(format_utc(1'700'000'000'123'456'789), "2023-11-14T22:13:20.123Z");
}

TEST(NearestWord, OfAWordOfManyMegabytesIsFoundAtOnce) {
  // This would take minutes if nearest_word() did not compare the lengths first.
  const std::vector<std::string_view> words(500, "reply_latency_and_more");
  EXPECT_EQ(nearest_word(std::string(32 << 20, 'x'), words), std::nullopt);
  EXPECT_EQ(nearest_word("reply_latency_and_mroe", words), words[0]);
  EXPECT_EQ(nearest_word("reply_latency_and", words), words[0]);
}

TEST(Text, IsTrimmedOfBlanksAtItsEndsOnly) {
  EXPECT_EQ(trimmed(" \t a b\n "), "a b");
  EXPECT_EQ(trimmed("a"), "a");
  EXPECT_EQ(trimmed(""), "");
  EXPECT_EQ(trimmed(" \n\t"), "");
  EXPECT_EQ(trimmed(" a\n", " \t"), "a\n") << "a line break is not among the blanks";
}

TEST(Text, LowerCaseChangesAsciiLettersOnly) {
  EXPECT_EQ(lower_case("HTTP/1.1 [A-Z]"), "http/1.1 [a-z]");
  EXPECT_EQ(lower_case("\xC3\x84"), "\xC3\x84") << "UTF-8";
}

}  // namespace
}  // namespace topspin
