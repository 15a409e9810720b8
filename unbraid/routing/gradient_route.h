#pragma once

#include <cstddef>
#include <ostream>
#include <string>
#include <vector>

namespace unbraid {

/// A weight per modality: one value for every modality, or a list with one each.
class ModalityWeights {
 public:
  ModalityWeights(double every) : values_{every} {}  // NOLINT(google-explicit-constructor)
  ModalityWeights(std::vector<double> each) : values_(std::move(each)), each_(true) {}  // NOLINT

  [[nodiscard]] double operator[](size_t modality) const {
    return each_ ? values_.at(modality) : values_.front();
  }
  [[nodiscard]] bool any() const;
  [[nodiscard]] const std::vector<double>& values() const { return values_; }
  /// Whether there is a weight for each of `modalities` modalities, and no more.
  [[nodiscard]] bool fits(size_t modalities) const {
    return !each_ || values_.size() == modalities;
  }

  bool operator==(const ModalityWeights&) const = default;

 private:
  std::vector<double> values_;
  bool each_ = false;
};

/// Which loss trains which part, and how strongly. The weights act on gradients: with the
/// multimodal loss L = loss(fusion(z_1 … z_M)) and the unimodal losses L_m = loss(fusion.alone(m,
/// z_m)),
///
///     d theta_m = multimodal_to_encoder[m] dL/d theta_m + unimodal_to_encoder[m] dL_m/d theta_m
///     d phi     = multimodal_to_fusion     dL/d phi     + sum_m unimodal_to_fusion[m] dL_m/d phi
///
/// for the parameters theta_m of encoder m and phi of the fusion module. A weight of 0 cuts: a part
/// that no loss reaches keeps undefined gradients.
struct GradientRoute {
  ModalityWeights multimodal_to_encoder = 1.0;
  double multimodal_to_fusion = 1.0;
  ModalityWeights unimodal_to_encoder = 0.0;
  ModalityWeights unimodal_to_fusion = 0.0;

  /// The multimodal loss trains everything.
  static GradientRoute joint();
  /// Joint plus the unimodal losses, weighted by `alpha`, nothing cut.
  static GradientRoute auxiliary(double alpha);
  /// Disentangled gradient learning (Wei, Luo & Luo, ICCV 2025): encoders learn from their unimodal
  /// loss, weighted by `alpha`, and the fusion module from the multimodal loss.
  static GradientRoute dgl(double alpha);
  /// The unimodal losses train everything; the multimodal loss does not exist.
  static GradientRoute unimodal();

  [[nodiscard]] bool has_multimodal_loss() const;
  [[nodiscard]] bool has_unimodal_loss(size_t modality) const;
  [[nodiscard]] bool reaches_encoder(size_t modality) const;
  [[nodiscard]] bool reaches_fusion() const;

  /// Throws std::invalid_argument unless every weight is finite and not negative, at least one is
  /// positive, and lists have one entry for each of `modalities`.
  void check(size_t modalities) const;

  /// The route as the table of the paper, a line for each loss.
  [[nodiscard]] std::string table() const;

  bool operator==(const GradientRoute&) const = default;
};

std::ostream& operator<<(std::ostream& stream, const GradientRoute& route);

}  // namespace unbraid
