#pragma once

#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "unbraid/core/batch.h"
#include "unbraid/core/torch.h"

namespace unbraid {

namespace detail {

template <typename M>
std::shared_ptr<torch::nn::Module> module_pointer(const M& module) {
  if constexpr (torch::detail::is_module_holder<M>::value) {
    return module.ptr();
  } else {
    return module;
  }
}

}  // namespace detail

/// One encoder per modality and the fusion module they feed, as a LibTorch module with parameters
/// `encoders.<modality>.<name>` and `fusion.<name>`. The parts are any modules, owned jointly with
/// the caller (a std::shared_ptr or a LibTorch holder):
///
///  - an encoder has `Tensor forward(Tensor input)`; its feature goes to the fusion module as it
///  is;
///  - a fusion module has `Tensor forward(ModalityTensors features)`, where an undefined feature
///    means that this modality is absent. Samples that differ in what they have go through it in
///    groups that do not, unless it has `forward(features, Presence)` as unbraid::Fusion has it.
class MultimodalModelImpl : public torch::nn::Module {
 public:
  MultimodalModelImpl() : encoders_(std::make_shared<torch::nn::Module>()) {
    register_module("encoders", encoders_);
  }

  /// Modalities are numbered in the order of these calls. `name` is unique and has no dots.
  template <typename M>
  void add_encoder(const std::string& name, M encoder) {
    encoders_->register_module(name, detail::module_pointer(encoder));
    modalities_.push_back({name, detail::module_pointer(encoder),
                           [encoder](const torch::Tensor& input) mutable -> torch::Tensor {
                             return encoder->forward(input);
                           }});
  }

  template <typename M>
  void set_fusion(M fusion) {
    fusion_ = register_module("fusion", detail::module_pointer(fusion));
    fuse_ = [fusion](const ModalityTensors& features,
                     const Presence& presence) mutable -> torch::Tensor {
      if constexpr (requires { fusion->forward(features, presence); }) {
        return fusion->forward(spread(features, presence), presence);
      } else {
        return in_groups(features, presence, [&](const ModalityTensors& group) -> torch::Tensor {
          return fusion->forward(group);
        });
      }
    };
  }

  /// The fused output; an undefined input: that modality is absent. Where `presence` says that
  /// some samples lack a modality, its input holds the others alone.
  torch::Tensor forward(const ModalityTensors& inputs, const Presence& presence = Presence());
  /// The feature of modality m.
  torch::Tensor encode(size_t modality, const torch::Tensor& input);
  /// The output for `features`, undefined ones being absent, of the samples that have them.
  torch::Tensor fuse(const ModalityTensors& features, const Presence& presence = Presence());
  /// The unimodal view: the output with every modality but m absent.
  torch::Tensor alone(size_t modality, const torch::Tensor& feature);

  [[nodiscard]] size_t size() const { return modalities_.size(); }
  [[nodiscard]] const std::string& name(size_t modality) const {
    return modalities_.at(modality).name;
  }
  [[nodiscard]] torch::nn::Module& encoder(size_t modality) {
    return *modalities_.at(modality).module;
  }
  [[nodiscard]] torch::nn::Module& fusion() { return *fusion_; }

 private:
  struct Modality {
    std::string name;
    std::shared_ptr<torch::nn::Module> module;
    std::function<torch::Tensor(const torch::Tensor&)> encode;
  };

  using Fuse = std::function<torch::Tensor(const ModalityTensors&)>;

  static ModalityTensors spread(const ModalityTensors& features, const Presence& presence);
  static torch::Tensor in_groups(const ModalityTensors& features, const Presence& presence,
                                 const Fuse& fuse);

  std::shared_ptr<torch::nn::Module> encoders_;
  std::vector<Modality> modalities_;
  std::shared_ptr<torch::nn::Module> fusion_;
  std::function<torch::Tensor(const ModalityTensors&, const Presence&)> fuse_;
};
TORCH_MODULE(MultimodalModel);

}  // namespace unbraid
