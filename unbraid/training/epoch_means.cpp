#include "unbraid/training/epoch_means.h"

#include <numeric>

#include <nlohmann/json.hpp>

namespace unbraid {

using nlohmann::json;

void EpochMeans::add(const RoutedResult& result, int64_t samples) {
  samples_ += samples;
  loss_.add(result.loss);
  for (size_t m = 0; m < alone_.size(); ++m) {
    alone_[m].add(result.loss_alone[m]);
  }
}

void EpochMeans::add_norms(const std::map<std::string, double>& norms) {
  ++steps_;
  for (const auto& [part, norm] : norms) {
    norms_[part] += norm;
  }
}

double EpochMeans::loss() const {
  if (loss_.count > 0) {
    return loss_.mean();
  }
  return std::accumulate(alone_.begin(), alone_.end(), 0.0, [](double sum, const Mean& mean) {
    return sum + (mean.count > 0 ? mean.mean() : 0.0);
  });
}

json EpochMeans::to_json(const MultimodalModelImpl& model) const {
  json record{{"loss", loss()}, {"gradient_norm", json::object()}};
  for (size_t m = 0; m < alone_.size(); ++m) {
    if (alone_[m].count > 0) {
      record["loss_alone"][model.name(m)] = alone_[m].mean();
    }
  }
  for (const auto& [part, norm] : norms_) {
    record["gradient_norm"][part.empty() ? "total" : part] = norm / static_cast<double>(steps_);
  }
  return record;
}

}  // namespace unbraid
