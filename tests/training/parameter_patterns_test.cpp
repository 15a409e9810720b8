#include "unbraid/training/parameter_patterns.h"

#include <gtest/gtest.h>

#include "unbraid/core/error.h"

namespace unbraid {
namespace {

TEST(MatchesPattern, StarsStandForAnyCharacters) {
  struct Case {
    const char* pattern;
    const char* name;
    bool matches;
  };
  const std::vector<Case> cases = {
      {"a.b", "a.b", true},
      {"a.b", "a.bc", false},
      {"a.b", "xa.b", false},
      {"a.*", "a.b.c", true},
      {"a.*", "a", false},
      {"*", "", true},
      {"", "", true},
      {"", "a", false},
      {"*.bn1.*", "x.bn1.weight", true},
      {"*.bn1.*", "bn1.w", false},
      {"*bn*w*", "abnbnw", true},
      {"*ab", "aab", true},
      {"*ab", "aba", false},
      {"a*b*c", "axbxbxc", true},
      {"a**", "a", true},
      {"a?", "ab", false},
  };
  for (const Case& one : cases) {
    EXPECT_EQ(matches_pattern(one.pattern, one.name), one.matches)
        << one.pattern << " " << one.name;
  }
  // Naive backtracking would take 2^n steps.
  std::string many;
  for (int i = 0; i < 40; ++i) {
    many += "*a";
  }
  EXPECT_FALSE(matches_pattern(many + "b", std::string(200, 'a')));
}

const std::vector<std::string> kNames = {"encoders.audio.conv1.weight", "encoders.audio.bn1.weight",
                                         "fusion.fc.weight"};

std::string refusal(const std::string& pattern) {
  try {
    match_patterns({"*", pattern}, kNames, "a.toml: train.freeze");
  } catch (const RecipeError& error) {
    return error.what();
  }
  return "";
}

TEST(MatchPatterns, TheFirstOneCounts) {
  EXPECT_EQ(match_patterns({"encoders.*", "*.weight"}, kNames, ""), (std::vector<size_t>{0, 0, 1}));
  EXPECT_EQ(match_patterns({"*.bn1.*"}, kNames, ""), (std::vector<size_t>{1, 0, 1}));
  EXPECT_EQ(match_patterns({}, kNames, ""), (std::vector<size_t>{0, 0, 0}));
}

TEST(MatchPatterns, OneWithoutAnyNameIsRefusedWithTheNearest) {
  EXPECT_EQ(refusal("encoders.adio.*"),
            "a.toml: train.freeze: expected a pattern that matches a parameter, got "
            "\"encoders.adio.*\"; did you mean \"encoders.audio.*\"?");
  EXPECT_NE(refusal("*.bn.*").find("did you mean \"*.bn1.*\"?"), std::string::npos);
  EXPECT_NE(refusal("fusion.fc.wieght").find("did you mean \"fusion.fc.weight\"?"),
            std::string::npos);
  EXPECT_NE(refusal("").find("one of them is encoders.audio.conv1.weight"), std::string::npos);
}

}  // namespace
}  // namespace unbraid
