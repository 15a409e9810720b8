#include "unbraid/data/contact_sheet.h"

#include <algorithm>
#include <cmath>

namespace unbraid {
namespace {

constexpr int64_t kHeight = 112;
constexpr int64_t kMostWidth = 3 * kHeight;
constexpr int64_t kGap = 4;

// [H, W] or [3, H, W] to uint8 [kHeight, width, 3].
torch::Tensor picture(const torch::Tensor& values) {
  torch::Tensor image = (values.dim() == 2 ? values.unsqueeze(0) : values).to(torch::kFloat);
  const torch::Tensor low = image.min();
  image = (image - low) / (image.max() - low).clamp_min(1e-12);
  const double proportion = static_cast<double>(image.size(2)) / static_cast<double>(image.size(1));
  const int64_t width =
      std::clamp<int64_t>(std::llround(static_cast<double>(kHeight) * proportion), 8, kMostWidth);
  image = torch::_upsample_bilinear2d_aa(image.unsqueeze(0), {kHeight, width},
                                         /*align_corners=*/false)
              .squeeze(0);
  return (image * 255.0)
      .round()
      .clamp(0, 255)
      .to(torch::kUInt8)
      .expand({3, -1, -1})
      .permute({1, 2, 0});
}

void add_pictures(const torch::Tensor& input, std::vector<torch::Tensor>& pictures) {
  if (!input.defined() || input.numel() == 0) {
    pictures.push_back(torch::zeros({kHeight, kHeight, 3}, torch::kUInt8));
  } else if (input.dim() < 2) {
    pictures.push_back(picture(input.reshape({1, -1})));
  } else if (input.dim() == 2 || (input.dim() == 3 && input.size(0) == 3)) {
    pictures.push_back(picture(input));
  } else {
    for (const torch::Tensor& part : input.unbind(0)) {
      add_pictures(part, pictures);
    }
  }
}

// Side by side; `axis` 0: one below the other. What is smaller is filled up with black.
torch::Tensor joined(const std::vector<torch::Tensor>& parts, int64_t axis) {
  const int64_t across = 1 - axis;
  int64_t most = 0;
  for (const torch::Tensor& part : parts) {
    most = std::max(most, part.size(across));
  }
  std::vector<torch::Tensor> padded;
  for (const torch::Tensor& part : parts) {
    std::vector<int64_t> size = {part.size(0), part.size(1), 3};
    size[static_cast<size_t>(across)] = most;
    size[static_cast<size_t>(axis)] += kGap;
    torch::Tensor box = torch::zeros(size, torch::kUInt8);
    box.narrow(0, 0, part.size(0)).narrow(1, 0, part.size(1)).copy_(part);
    padded.push_back(box);
  }
  return torch::cat(padded, axis);
}

}  // namespace

torch::Tensor contact_sheet(const std::vector<std::vector<torch::Tensor>>& rows) {
  std::vector<torch::Tensor> lines;
  for (const auto& inputs : rows) {
    std::vector<torch::Tensor> pictures;
    for (const torch::Tensor& input : inputs) {
      add_pictures(input, pictures);
    }
    lines.push_back(joined(pictures, 1));
  }
  return joined(lines, 0).contiguous();
}

}  // namespace unbraid
