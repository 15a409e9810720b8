#pragma once

#include <string>
#include <vector>

#include "unbraid/analysis/comparison.h"
#include "unbraid/training/json_file.h"

namespace unbraid {

/// One sentence of a verdict.
struct Statement {
  enum class Kind {
    kLoss,  // a modality is worse inside a fused model than alone, or a method than the reference
    kGain,  // the other way round
    kSilence,  // what the intervals do not allow to be said
  };
  Kind kind = Kind::kSilence;
  std::string text;

  bool operator==(const Statement&) const = default;
};

/// What `comparison` shows, in plain language, of every difference whose 95 % interval leaves out
/// zero: which modality is under-optimised by how much in the reference method (or in each method
/// where there is none), what other methods recover of it, and which of them beat the reference.
/// What an interval does not allow is said to be open. The largest loss first.
std::vector<Statement> verdict(const Comparison& comparison);

/// A sentence on methods that did nothing of their own in these epochs; empty without any.
std::string of_methods_like_reference(const Comparison& comparison);

/// Whether a metric is a share, told in % and points: accuracy, F1, mAP, mIoU and the like.
bool is_share(const std::string& metric);

/// The value under `key`, of `metric`; one that is a share has to be from 0 to 1. Throws
/// StorageError.
double score_at(const JsonFields& fields, const std::string& key, const std::string& metric);

}  // namespace unbraid
