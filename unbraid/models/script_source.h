#pragma once

#include <string>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "unbraid/core/torch.h"

/// TorchScript source for Encoder::torchscript and Fusion::torchscript. Layers are named by their
/// dotted names in the module, as in "layer1.0.conv1"; `x` is any expression.
namespace unbraid::script {

/// The body of a function.
class Lines {
 public:
  template <typename... Arguments>
  void add(fmt::format_string<Arguments...> line, Arguments&&... arguments) {
    text_ += fmt::format("  {}\n", fmt::format(line, std::forward<Arguments>(arguments)...));
  }
  /// `head`, as in "if z0 is not None:", with `inner` under it.
  void add_under(const std::string& head, const Lines& inner);
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

/// What a submodule `name` is called there: "modality_" stands in front of what means something to
/// TorchScript.
std::string submodule_name(const std::string& name);

/// `name` as an expression: self.layer1 and so on.
std::string path(const std::string& name);

std::string linear(const std::string& x, const std::string& layer);

/// A convolution with zero padding and one group.
template <size_t D>
std::string convolution(const std::string& x, const std::string& layer,
                        const torch::nn::detail::ConvNdOptions<D>& options) {
  TORCH_CHECK(options.groups() == 1, "[script] expected a convolution of one group");
  const auto& padding = get<torch::ExpandingArray<D>>(options.padding());  // of c10, later std
  const std::string bias = options.bias() ? path(layer) + ".bias" : "None";
  return fmt::format("torch.conv{}d({}, {}.weight, {}, [{}], [{}], [{}])", D, x, path(layer), bias,
                     fmt::join(*options.stride(), ", "), fmt::join(*padding, ", "),
                     fmt::join(*options.dilation(), ", "));
}

/// BatchNorm with LibTorch's default settings.
std::string norm(const std::string& x, const std::string& layer);
std::string layer_norm(const std::string& x, const std::string& layer,
                       const torch::nn::LayerNormOptions& options);

/// forward of an encoder with the argument x.
std::string encoder(const Lines& body);
/// The same whose body turns images x [B, C, H, W] into features x; clips are taken frame by frame,
/// as by encode_frames.
std::string over_frames(const Lines& body);
/// forward of a fusion of `modalities` with the arguments z0, z1, ….
std::string fusion(size_t modalities, const Lines& body);

}  // namespace unbraid::script
