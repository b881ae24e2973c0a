// Colour rules in the format of trafshow: the first match wins, and an error names its line.
#include "tui/flows/colour_rules.h"

#include <gtest/gtest.h>

#include "tests/tui/synthetic.h"
#include "tui/terminal/theme.h"
#include "tui/views.h"

namespace topspin {
namespace {

using test::Synthetic;

ColourRules rules(std::string_view text) {
  auto parsed = ColourRules::parse(text);
  EXPECT_TRUE(parsed.ok()) << text << ": " << (parsed.ok() ? "" : parsed.error().message);
  return parsed.ok() ? std::move(parsed).value() : ColourRules();
}

constexpr size_t kRed = 1, kGreen = 2, kBlue = 4, kWhite = 7, kBright = 8;

TEST(ColourRules, TheFirstThatMatchesGivesTheColour) {
  const FlowRow udp = Synthetic{}.row(1, 5);   // 10.0.0.1:40001 to 192.168.7.1:8888
  const FlowRow tcp = Synthetic{}.row(10, 5);  // between the same hosts by TCP
  const ColourRules some = rules(
      "# private nets\n"
      "\n"
      "tcp 10.0.0.0/8 any,8888 Red:blue   # bright\n"
      "10.0.0.0/8\tany\tgreen\r\n"
      "default white\n");
  EXPECT_EQ(some.style(tcp), Style(rule_role(kRed + kBright), rule_role(kBlue)));
  EXPECT_EQ(some.style(udp), Style(rule_role(kGreen)));
  EXPECT_EQ(some.style(Synthetic{.ipv6 = true}.row(1, 5)), Style(rule_role(kWhite)));
  EXPECT_EQ(rules("").style(udp), std::nullopt);
  EXPECT_TRUE(rules("# nothing\n").empty());
}

TEST(ColourRules, PortsProtocolsAndNets) {
  const FlowRow udp = Synthetic{}.row(1, 5);
  const auto hits = [&](const char* text) { return rules(text).style(udp).has_value(); };
  for (const char* text :
       {"8888 red", "40001 red", "8888/udp red", "*/udp red", "8888/* red", "* * red",
        "udp any all red", "any 192.168.7.1,8888 red", "10.0.0.1,40001 192.168.0.0/16 red",
        "* 10.0.0.1 red\n* * red", "10.0.0.1,* *,8888 red", "0.0.0.0/0 any red"}) {
    EXPECT_TRUE(hits(text)) << text;
  }
  for (const char* text :
       {"80 red", "8888/tcp red", "*/icmp red", "icmp any any red", "192.168.7.1 any red",
        "any 192.168.7.1,80 red", "::/0 any red", "any 192.168.8.0/24 red"}) {
    EXPECT_FALSE(hits(text)) << text;
  }
  EXPECT_TRUE(rules("2001:db8::/32 ::1,8888 red").style(Synthetic{.ipv6 = true}.row(1, 5)));
}

TEST(ColourRules, WhatIsWrongIsNamedByItsLine) {
  for (const char* line :
       {"red", "8888 purple", "8888 red:purple", "http red", "1.2.3 any red", "any any any any red",
        "65536 red", "any,x any red", "10.0.0.0/33 any red", "foo any any red", "8888/foo red",
        "8888 :red", "default no", "any example.com red", "\x1b[2J any red"}) {
    const auto parsed = ColourRules::parse(std::string("* * red\n") + line);
    ASSERT_FALSE(parsed.ok()) << line;
    EXPECT_EQ(parsed.error().code, ErrorCode::kUsage);
    EXPECT_NE(parsed.error().message.find("line 2"), std::string::npos) << parsed.error().message;
    EXPECT_EQ(parsed.error().message.find('\x1b'), std::string::npos);
  }
  std::string many;
  for (size_t i = 0; i <= ColourRules::kMaxRules; ++i) many += "* * red\n";
  EXPECT_FALSE(ColourRules::parse(many).ok());
}

// Every role has a look in every theme with every number of colours.
TEST(Themes, EveryRoleHasALook) {
  for (int theme = 0; theme < static_cast<int>(ThemeName::kCount); ++theme) {
    for (const int colours : {0, 8, 256}) {
      for (size_t role = 0; role < kRoleCount; ++role) {
        const Appearance look =
            appearance(static_cast<ThemeName>(theme), colours, static_cast<Role>(role));
        EXPECT_LT(look.foreground, std::max(colours, 1));
        EXPECT_LT(look.background, std::max(colours, 1));
      }
    }
  }
  const Style red_on_blue(rule_role(kRed), rule_role(kBlue));
  EXPECT_EQ(appearance(ThemeName::kDark, 8, red_on_blue).foreground, 1);
  EXPECT_EQ(appearance(ThemeName::kDark, 8, red_on_blue).background, 4);
}

TEST(ColourRules, ColourWhatAFlowIsAndNotHowItFares) {
  const Synthetic synthetic{.flows = 3};
  const Model model = synthetic.model(5);
  ViewState state = initial_view_state(model);
  state.colour_rules = std::make_shared<const ColourRules>(rules("8888 Green"));
  const Size size{120, 24};
  const Grid grid = draw_screen(model, state, size);
  const int y = screen_layout(size).body_y + 2;  // not under the cursor
  EXPECT_EQ(grid.at(0, y).style.role, rule_role(kGreen + kBright));
  size_t coloured = 0;
  for (int x = 0; x < size.width; ++x) coloured += is_rule(grid.at(x, y).style.role) ? 1 : 0;
  EXPECT_GT(coloured, 30u);
  EXPECT_LT(coloured, 80u);
}

}  // namespace
}  // namespace topspin
