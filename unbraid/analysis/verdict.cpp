#include "unbraid/analysis/verdict.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace unbraid {
namespace {

constexpr size_t kMostNamed = 4;  // in one list

/// Numbers of one metric in words.
class Words {
 public:
  explicit Words(const Comparison& comparison)
      : metric_(comparison.metric),
        share_(is_share(comparison.metric)),
        sign_(comparison.smaller_is_better ? -1 : 1) {}

  /// "9.1 ± 1.2"; the size of a difference, whatever its direction.
  [[nodiscard]] std::string size(const Estimate& estimate) const {
    return plus_minus(std::abs(estimate.mean), estimate.half_width);
  }
  /// The same with its sign.
  [[nodiscard]] std::string difference(const Estimate& estimate) const {
    const std::string sign = estimate.mean < 0 ? "-" : "+";
    return sign + plus_minus(std::abs(estimate.mean), estimate.half_width);
  }
  [[nodiscard]] std::string unit() const { return share_ ? "points" : "of " + metric_; }
  [[nodiscard]] std::string value(const Estimate& estimate) const {
    return share_ ? fmt::format("{:.1f} %", 100 * estimate.mean)
                  : fmt::format("{:.4g}", estimate.mean);
  }
  [[nodiscard]] bool better(const Estimate& difference) const {
    return sign_ * difference.mean > 0;
  }

 private:
  [[nodiscard]] std::string plus_minus(double value, double half) const {
    if (share_) {
      const int digits = half > 0 && half < 0.001 ? 2 : 1;
      return fmt::format("{:.{}f} ± {:.{}f}", 100 * value, digits, 100 * half, digits);
    }
    // As many places as show two digits of the half width.
    constexpr int kMostPlaces = 6;
    const int places =
        half > 0 ? std::max(0, 1 - static_cast<int>(std::floor(std::log10(half)))) : 0;
    return half > 0 && places <= kMostPlaces
               ? fmt::format("{:.{}f} ± {:.{}f}", value, places, half, places)
               : fmt::format("{:.4g} ± {:.2g}", value, half);
  }

  std::string metric_;
  bool share_;
  double sign_;
};

struct Named {
  std::string name;
  Estimate estimate;
};

/// "dgl 8.4 ± 1.0 and auxiliary 7.1 ± 0.9", the largest first.
std::string listed(std::vector<Named> entries,
                   const std::function<std::string(const Named&)>& say) {
  std::stable_sort(entries.begin(), entries.end(), [](const Named& left, const Named& right) {
    return std::abs(left.estimate.mean) > std::abs(right.estimate.mean);
  });
  std::vector<std::string> parts;
  for (size_t i = 0; i < std::min(entries.size(), kMostNamed); ++i) {
    parts.push_back(say(entries[i]));
  }
  if (entries.size() > kMostNamed) {
    parts.push_back(fmt::format("{} others less", entries.size() - kMostNamed));
  }
  const std::string last = parts.back();
  parts.pop_back();
  return parts.empty() ? last : fmt::format("{} and {}", fmt::join(parts, ", "), last);
}

class Verdict {
 public:
  explicit Verdict(const Comparison& comparison) : comparison_(comparison), words_(comparison) {}

  std::vector<Statement> statements() {
    std::vector<std::pair<double, Statement>> losses;
    for (const ComparisonRow& row : comparison_.rows) {
      if (comparison_.reference.empty() || row.label == comparison_.reference) {
        for (const auto& [modality, gap] : row.gap) {
          of_gap(row, modality, gap, losses);
        }
      }
    }
    std::stable_sort(losses.begin(), losses.end(),
                     [](const auto& left, const auto& right) { return left.first > right.first; });
    std::vector<Statement> all;
    all.reserve(losses.size());
    for (auto& [size, statement] : losses) {
      all.push_back(std::move(statement));
    }
    all.insert(all.end(), gains_.begin(), gains_.end());
    of_methods(all);
    if (most_seeds() < 2) {
      return {{Statement::Kind::kSilence,
               "There is no verdict: one seed cannot be told from chance. Several seeds of each "
               "method and of each modality alone allow one."}};
    }
    if (all.empty() && open_.empty()) {
      open_.push_back(
          {Statement::Kind::kSilence,
           "There is no verdict: it takes several methods, joint among them, or each modality "
           "trained alone."});
    }
    if (comparison_.skipping > 0) {
      open_.push_back(
          {Statement::Kind::kSilence,
           fmt::format("{} of the runs left out samples that cannot be read: what they are "
                       "scored on may differ.",
                       comparison_.skipping)});
    }
    if (const std::string same = of_methods_like_reference(comparison_); !same.empty()) {
      open_.push_back({Statement::Kind::kSilence, same});
    }
    all.insert(all.end(), open_.begin(), open_.end());
    return all;
  }

 private:
  using Losses = std::vector<std::pair<double, Statement>>;

  /// The seeds of whatever has most of them.
  [[nodiscard]] size_t most_seeds() const {
    size_t most = 0;
    for (const ComparisonRow& row : comparison_.rows) {
      most = std::max({most, row.runs, row.fused.count});
    }
    return most;
  }

  void of_gap(const ComparisonRow& row, const std::string& modality, const Estimate& gap,
              Losses& losses) {
    if (!gap.differs_from_zero()) {
      open_.push_back({Statement::Kind::kSilence,
                       gap.count < 2
                           ? fmt::format("Whether {} is under-optimised in {} is open: "
                                         "it takes two seeds or more.",
                                         modality, row.label)
                           : fmt::format("Whether {} is under-optimised in {} is open: "
                                         "the gap is {} {}{}.",
                                         modality, row.label, words_.difference(gap), words_.unit(),
                                         gap.half_width > 0 ? ""
                                                            : " at every seed, which says "
                                                              "nothing of chance")});
      return;
    }
    const std::string values =
        fmt::format("{} inside the model, {} trained alone", words_.value(row.alone.at(modality)),
                    words_.value(alone_of(modality)));
    if (!words_.better(gap)) {
      gains_.push_back({Statement::Kind::kGain,
                        fmt::format("{} gains {} {} from being trained together in {} ({}).",
                                    modality, words_.size(gap), words_.unit(), row.label, values)});
      return;
    }
    losses.emplace_back(std::abs(gap.mean),
                        Statement{Statement::Kind::kLoss,
                                  fmt::format("{} is under-optimised by {} {} in {} ({}){}.",
                                              modality, words_.size(gap), words_.unit(), row.label,
                                              values, recovered(modality))});
  }

  /// "; dgl recovers 8.4 ± 1.0", by the methods that are compared with the reference.
  [[nodiscard]] std::string recovered(const std::string& modality) const {
    std::vector<Named> more;
    std::vector<Named> less;
    for (const ComparisonRow& row : comparison_.rows) {
      const auto found = row.alone_difference.find(modality);
      if (found != row.alone_difference.end() && found->second.differs_from_zero()) {
        (words_.better(found->second) ? more : less).push_back({row.label, found->second});
      }
    }
    std::string text;
    if (!more.empty()) {
      text += "; " + listed(more, [&, first = true](const Named& one) mutable {
                const std::string verb = first ? " recovers " : " ";
                first = false;
                return one.name + verb + words_.size(one.estimate);
              });
    }
    if (!less.empty()) {
      text += "; " + listed(less, [&, first = true](const Named& one) mutable {
                const std::string verb = first ? " loses another " : " ";
                first = false;
                return one.name + verb + words_.size(one.estimate);
              });
    }
    return text;
  }

  /// Of the runs that train `modality` alone, which there are where there is a gap.
  [[nodiscard]] Estimate alone_of(const std::string& modality) const {
    return row_of(comparison_.trained_alone.at(modality)).alone.at(modality);
  }

  [[nodiscard]] const ComparisonRow& row_of(const std::string& label) const {
    return *std::find_if(comparison_.rows.begin(), comparison_.rows.end(),
                         [&](const ComparisonRow& one) { return one.label == label; });
  }

  void of_methods(std::vector<Statement>& all) {
    std::vector<Named> open;
    std::vector<std::string> too_few;
    std::vector<std::pair<const ComparisonRow*, bool>> told;
    for (const ComparisonRow& row : comparison_.rows) {
      if (!comparison_.reference.empty() && row.label != comparison_.reference &&
          row.fused.count > 0 && row.difference.count < 2) {
        too_few.push_back(row.label);
      }
      const auto& like = comparison_.like_reference;
      if (row.difference.count == 0 ||
          std::find(like.begin(), like.end(), row.label) != like.end()) {
        continue;
      }
      if (row.difference.differs_from_zero()) {
        told.emplace_back(&row, words_.better(row.difference));
      } else if (row.difference.count > 1) {
        open.push_back({row.label, row.difference});
      }
    }
    std::stable_sort(told.begin(), told.end(), [](const auto& left, const auto& right) {
      return std::abs(left.first->difference.mean) > std::abs(right.first->difference.mean);
    });
    for (const bool good : {true, false}) {
      const Statement::Kind kind = good ? Statement::Kind::kGain : Statement::Kind::kLoss;
      const char* than = good ? "better" : "worse";
      size_t count = 0;
      for (const auto& [row, better] : told) {
        if (better == good && ++count <= kMostNamed) {
          all.push_back(
              {kind, fmt::format("{} is {} than {} by {} {} ({} against {}).", row->label, than,
                                 comparison_.reference, words_.size(row->difference), words_.unit(),
                                 words_.value(row->fused),
                                 words_.value(row_of(comparison_.reference).fused))});
        }
      }
      if (count > kMostNamed) {
        all.push_back({kind, fmt::format("{} others are {} than {} by less.", count - kMostNamed,
                                         than, comparison_.reference)});
      }
    }
    if (!too_few.empty()) {
      open_.push_back({Statement::Kind::kSilence,
                       fmt::format("Of {} nothing is said: it takes two seeds or more that {} has "
                                   "too.",
                                   fmt::join(too_few, ", "), comparison_.reference)});
    }
    if (!open.empty()) {
      open_.push_back({Statement::Kind::kSilence,
                       fmt::format("The seeds do not tell {} from {}: {}.",
                                   open.size() == 1 ? open.front().name : "these methods",
                                   comparison_.reference, listed(open, [&](const Named& one) {
                                     return (open.size() == 1 ? "" : one.name + " ") +
                                            words_.difference(one.estimate);
                                   }))});
    }
  }

  const Comparison& comparison_;
  Words words_;
  std::vector<Statement> gains_;
  std::vector<Statement> open_;
};

}  // namespace

std::string of_methods_like_reference(const Comparison& comparison) {
  const auto& labels = comparison.like_reference;
  if (labels.empty()) {
    return "";
  }
  return fmt::format(
      "{} {} the scores and losses of {} to the last digit: in these epochs {} nothing of {} own.",
      fmt::join(labels, ", "), labels.size() == 1 ? "has" : "have", comparison.reference,
      labels.size() == 1 ? "it did" : "they did", labels.size() == 1 ? "its" : "their");
}

bool is_share(const std::string& metric) {
  return metric.starts_with("acc") || metric.find("f1") != std::string::npos || metric == "mAP" ||
         metric == "miou";
}

double score_at(const JsonFields& fields, const std::string& key, const std::string& metric) {
  const double score = fields.number(key);
  if (is_share(metric) && (score < 0 || score > 1)) {
    throw fields.error(key, "a share from 0 to 1");
  }
  return score;
}

std::vector<Statement> verdict(const Comparison& comparison) {
  return Verdict(comparison).statements();
}

}  // namespace unbraid
