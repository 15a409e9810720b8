#include "unbraid/analysis/verdict.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

namespace unbraid {
namespace {

using Kind = Statement::Kind;

/// Joint with a gap of 9.1 ± 1.2 points in audio, of which dgl recovers 8.4 ± 1.0, and one of 0.4 ±
/// 1.1 in visual.
Comparison comparison() {
  Comparison made;
  made.metric = "accuracy";
  made.reference = "joint";
  made.modalities = {"audio", "visual"};
  made.trained_alone = {{"audio", "audio alone"}, {"visual", "visual alone"}};
  ComparisonRow audio{"audio alone", 5, {}, {}, {}, 0, {{"audio", {0.712, 0.01, 5}}}, {}, {}, 0, 0};
  ComparisonRow visual{
      "visual alone", 5, {}, {}, {}, 0, {{"visual", {0.6, 0.01, 5}}}, {}, {}, 0, 0};
  ComparisonRow joint{"joint", 5, {0.71, 0.01, 5}, {}, {}, 0, {}, {}, {}, 0, 0};
  joint.alone = {{"audio", {0.621, 0.01, 5}}, {"visual", {0.596, 0.01, 5}}};
  joint.gap = {{"audio", {0.091, 0.012, 5}}, {"visual", {0.004, 0.011, 5}}};
  ComparisonRow dgl = joint;
  dgl.label = "dgl";
  dgl.fused = {0.762, 0.01, 5};
  dgl.difference = {0.052, 0.006, 5};
  dgl.alone_difference = {{"audio", {0.084, 0.010, 5}}, {"visual", {0.001, 0.008, 5}}};
  made.rows = {audio, visual, joint, dgl};
  return made;
}

const Statement kAudio{Kind::kLoss,
                       "audio is under-optimised by 9.1 ± 1.2 points in joint (62.1 % inside the "
                       "model, 71.2 % trained alone); dgl recovers 8.4 ± 1.0."};
const Statement kBetter{Kind::kGain,
                        "dgl is better than joint by 5.2 ± 0.6 points (76.2 % against 71.0 %)."};
const Statement kVisualOpen{Kind::kSilence,
                            "Whether visual is under-optimised in joint is open: the gap is +0.4 ± "
                            "1.1 points."};

TEST(Verdict, SaysWhatTheIntervalsAllowAndWhatNot) {
  EXPECT_EQ(verdict(comparison()), (std::vector<Statement>{kAudio, kBetter, kVisualOpen}));
}

TEST(Verdict, IsSilentWhereTheIntervalHoldsZero) {
  Comparison made = comparison();
  made.rows[2].gap["audio"].half_width = 0.092;
  made.rows[3].difference.half_width = 0.053;
  for (const Statement& statement : verdict(made)) {
    EXPECT_EQ(statement.kind, Kind::kSilence) << statement.text;
  }
  EXPECT_EQ(verdict(made)[2].text, "The seeds do not tell dgl from joint: +5.2 ± 5.3.");
}

TEST(Verdict, RecoveryNeedsAnIntervalOfItsOwn) {
  Comparison made = comparison();
  made.rows[3].alone_difference["audio"].half_width = 0.085;
  EXPECT_EQ(verdict(made)[0].text.find("recovers"), std::string::npos);
  made.rows[3].alone_difference["audio"] = {-0.02, 0.01, 5};
  EXPECT_NE(verdict(made)[0].text.find("; dgl loses another 2.0 ± 1.0."), std::string::npos);
}

TEST(Verdict, LargestLossAndRecoveryComeFirst) {
  Comparison made = comparison();
  made.rows[2].gap["visual"] = {0.2, 0.01, 5};
  ComparisonRow more = made.rows[3];
  more.label = "auxiliary";
  more.alone_difference["audio"] = {0.09, 0.01, 5};
  more.difference = {-0.01, 0.002, 5};
  made.rows.push_back(more);
  const auto statements = verdict(made);
  EXPECT_TRUE(statements[0].text.starts_with("visual is under-optimised by 20.0 ± 1.0"));
  EXPECT_NE(statements[1].text.find("; auxiliary recovers 9.0 ± 1.0 and dgl 8.4 ± 1.0."),
            std::string::npos)
      << statements[1].text;
  EXPECT_EQ(statements[2], kBetter);
  EXPECT_EQ(statements[3].kind, Kind::kLoss);
  EXPECT_TRUE(statements[3].text.starts_with("auxiliary is worse than joint by 1.0 ± 0.2 points"));
}

TEST(Verdict, OneSeedAllowsNone) {
  Comparison made = comparison();
  for (ComparisonRow& row : made.rows) {
    row.runs = 1;
    row.fused.count = 1;
    row.gap.clear();
    row.difference.half_width = std::nan("");
  }
  const auto statements = verdict(made);
  ASSERT_EQ(statements.size(), 1);
  EXPECT_TRUE(statements[0].text.starts_with("There is no verdict: one seed"));
}

TEST(Verdict, NamesWhatHasTooFewSeeds) {
  Comparison made = comparison();
  made.rows.push_back(made.rows[3]);
  made.rows.back().label = "ogm";
  made.rows.back().difference = {0.3, std::nan(""), 1};
  made.rows.push_back(made.rows.back());
  made.rows.back().label = "agm";
  made.rows.back().difference = {};
  const auto statements = verdict(made);
  ASSERT_EQ(statements.size(), 4);
  EXPECT_EQ(statements[3], (Statement{Kind::kSilence,
                                      "Of ogm, agm nothing is said: it takes two seeds or more "
                                      "that joint has too."}));
}

TEST(Verdict, SaysWhyAGapWithoutWidthIsOpen) {
  Comparison made = comparison();
  made.rows[2].gap["audio"] = {0.1, 0, 2};
  EXPECT_EQ(verdict(made)[1],
            (Statement{Kind::kSilence,
                       "Whether audio is under-optimised in joint is open: the gap is +10.0 ± 0.0 "
                       "points at every seed, which says nothing of chance."}));
}

TEST(Verdict, NamesWhatDidNothingOfItsOwnOnce) {
  Comparison made = comparison();
  made.rows.push_back(made.rows[3]);
  made.rows.back().label = "relearning";
  made.rows.back().difference = {0, 0, 5};
  made.rows.back().alone_difference.clear();
  made.like_reference = {"relearning"};
  const auto statements = verdict(made);
  ASSERT_EQ(statements.size(), 4);
  EXPECT_EQ(statements[3], (Statement{Kind::kSilence,
                                      "relearning has the scores and losses of joint to the last "
                                      "digit: in these epochs it did nothing of its own."}));
}

TEST(Verdict, RoundsBothSidesOfAnInterval) {
  Comparison made = comparison();
  made.metric = "mae";
  made.smaller_is_better = true;
  made.rows[3].difference = {-0.06009, 3.0, 5};
  const auto statements = verdict(made);
  EXPECT_EQ(statements.back().text, "The seeds do not tell dgl from joint: -0.1 ± 3.0.");
}

TEST(Verdict, GapOfOneSeedIsOpen) {
  Comparison made = comparison();
  made.rows[2].gap["audio"] = {0.091, std::nan(""), 1};
  EXPECT_EQ(verdict(made)[1].text,
            "Whether audio is under-optimised in joint is open: it takes two seeds or more.");
}

TEST(Verdict, ErrorsAreBetterWhenSmaller) {
  Comparison made = comparison();
  made.metric = "mae";
  made.smaller_is_better = true;
  const auto statements = verdict(made);  // an error that is larger alone than inside the model
  EXPECT_EQ(statements[0].kind, Kind::kGain);
  EXPECT_TRUE(
      statements[0].text.starts_with("audio gains 0.091 ± 0.012 of mae from being trained "
                                     "together in joint (0.621 inside"))
      << statements[0].text;
  EXPECT_EQ(statements[1].text,
            "dgl is worse than joint by 0.0520 ± 0.0060 of mae (0.762 against "
            "0.71).");
}

TEST(Verdict, WithoutAReferenceEachMethodHasItsGaps) {
  Comparison made = comparison();
  made.reference = "";
  for (ComparisonRow& row : made.rows) {
    row.difference = {};
    row.alone_difference.clear();
  }
  const auto statements = verdict(made);
  EXPECT_TRUE(
      statements[0].text.starts_with("audio is under-optimised by 9.1 ± 1.2 points in joint"));
  EXPECT_TRUE(
      statements[1].text.starts_with("audio is under-optimised by 9.1 ± 1.2 points in dgl"));
}

TEST(Verdict, NamesNoMoreThanFour) {
  Comparison made = comparison();
  for (const char* label : {"a", "b", "c", "d", "e"}) {
    made.rows.push_back(made.rows[3]);
    made.rows.back().label = label;
  }
  EXPECT_NE(verdict(made)[0].text.find("c 8.4 ± 1.0 and 2 others less."), std::string::npos)
      << verdict(made)[0].text;
  const auto statements = verdict(made);
  EXPECT_EQ(std::count_if(statements.begin(), statements.end(),
                          [](const Statement& one) { return one.kind == Kind::kGain; }),
            5);
  EXPECT_EQ(statements[5].text, "2 others are better than joint by less.");
}

}  // namespace
}  // namespace unbraid
