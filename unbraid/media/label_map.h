#pragma once

#include "unbraid/media/decoder.h"
#include "unbraid/tasks/task.h"

namespace unbraid {

/// A label that is a file with the class of each pixel: a PNG whose grey values or palette indices
/// are classes (of 16 bits too), or a .npy file of whole numbers [H, W] or [1, H, W]. `decode`
/// gives the numbers [H, W], each a class or the one that is ignored; `transform` resizes them,
/// taking the nearest pixel (as Pillow's NEAREST), to int64 [height, width] of the task.
class LabelMapDecoder final : public Decoder {
 public:
  explicit LabelMapDecoder(const PixelLabels& labels) : labels_(labels) {}

  void check(const std::string& cell) const override;
  [[nodiscard]] torch::Tensor decode(const std::string& cell) const override;
  [[nodiscard]] torch::Tensor transform(const torch::Tensor& decoded,
                                        const SampleContext& context) const override;

 private:
  PixelLabels labels_;
};

}  // namespace unbraid
