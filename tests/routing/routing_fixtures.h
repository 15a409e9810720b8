#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "unbraid/models/encoders/mlp.h"
#include "unbraid/models/fusions/concat.h"
#include "unbraid/models/fusions/cosine.h"
#include "unbraid/models/fusions/decoder.h"
#include "unbraid/models/fusions/film.h"
#include "unbraid/models/fusions/gated.h"
#include "unbraid/models/fusions/shared_head.h"
#include "unbraid/models/fusions/sum.h"
#include "unbraid/models/multimodal_model.h"
#include "unbraid/routing/routed_backward.h"

namespace unbraid::testing {

constexpr int64_t kBatch = 5;
constexpr int64_t kInputs = 6;
constexpr int64_t kFeature = 4;
constexpr int64_t kClasses = 3;

/// An encoder with running statistics, so that passes which disturb them show.
class NormedEncoderImpl : public torch::nn::Module {
 public:
  NormedEncoderImpl()
      : fc_(register_module("fc", torch::nn::Linear(kInputs, kFeature))),
        bn_(register_module("bn", torch::nn::BatchNorm1d(kFeature))) {}
  torch::Tensor forward(const torch::Tensor& x) { return torch::tanh(bn_(fc_(x))); }

 private:
  torch::nn::Linear fc_;
  torch::nn::BatchNorm1d bn_;
};
TORCH_MODULE(NormedEncoder);

/// A fusion of a user's own, with running statistics of its own.
class NormedFusionImpl : public torch::nn::Module {
 public:
  NormedFusionImpl()
      : bn_(register_module("bn", torch::nn::BatchNorm1d(kFeature))),
        out_(register_module("out", torch::nn::Linear(kFeature, kClasses))) {}
  torch::Tensor forward(const ModalityTensors& features) {
    torch::Tensor sum;
    for (const torch::Tensor& feature : features) {
      if (feature.defined()) {
        sum = sum.defined() ? sum + feature : feature;
      }
    }
    return out_(torch::relu(bn_(sum)));
  }

 private:
  torch::nn::BatchNorm1d bn_;
  torch::nn::Linear out_;
};
TORCH_MODULE(NormedFusion);

/// The same for maps of `side` x `side`.
class NormedMapEncoderImpl : public torch::nn::Module {
 public:
  explicit NormedMapEncoderImpl(int64_t side)
      : side_(side),
        fc_(register_module("fc", torch::nn::Linear(kInputs, kFeature * side * side))),
        bn_(register_module("bn", torch::nn::BatchNorm2d(kFeature))) {}
  torch::Tensor forward(const torch::Tensor& x) {
    return torch::tanh(bn_(fc_(x).view({-1, kFeature, side_, side_})));
  }

 private:
  int64_t side_;
  torch::nn::Linear fc_;
  torch::nn::BatchNorm2d bn_;
};
TORCH_MODULE(NormedMapEncoder);

inline FusionShape shape_of(size_t modalities) {
  const std::vector<std::string> names{"audio", "image", "text"};
  return {{names.begin(), names.begin() + static_cast<std::ptrdiff_t>(modalities)},
          std::vector<int64_t>(modalities, kFeature),
          kClasses};
}

/// Maps to an output of 4 x 4.
inline FusionShape map_shape_of(size_t modalities) {
  FusionShape shape = shape_of(modalities);
  shape.feature_kinds.assign(modalities, FeatureKind::kMap);
  shape.map = {4, 4};
  return shape;
}

inline void set_fusion(MultimodalModel& model, const std::string& type) {
  const FusionShape shape = shape_of(model->size());
  if (type == "decoder") {
    model->set_fusion(
        std::make_shared<DecoderFusion>(map_shape_of(model->size()), std::vector<int64_t>{3, 5}));
  } else if (type == "concat") {
    model->set_fusion(std::make_shared<ConcatFusion>(shape));
  } else if (type == "sum") {
    model->set_fusion(std::make_shared<SumFusion>(shape));
  } else if (type == "film") {
    model->set_fusion(std::make_shared<FilmFusion>(shape));
  } else if (type == "cosine") {
    model->set_fusion(std::make_shared<CosineFusion>(shape));
  } else if (type == "shared-head") {
    model->set_fusion(std::make_shared<SharedHeadFusion>(shape));
  } else if (type == "gated" || type == "gated-released") {
    model->set_fusion(std::make_shared<GatedFusion>(shape, type == "gated-released"));
  } else {
    model->set_fusion(NormedFusion());
  }
}

/// A model in double precision with random parameters, in training mode.
inline MultimodalModel make_model(const std::string& fusion, size_t modalities) {
  torch::manual_seed(7);
  MultimodalModel model;
  for (const std::string& name : shape_of(modalities).modalities) {
    if (fusion == "decoder") {
      model->add_encoder(name, NormedMapEncoder(2 + static_cast<int64_t>(model->size())));
    } else {
      model->add_encoder(name, NormedEncoder());
    }
  }
  set_fusion(model, fusion);
  model->to(torch::kDouble);
  return model;
}

inline ModalityTensors make_inputs(size_t modalities) {
  torch::manual_seed(11);
  ModalityTensors inputs;
  for (size_t m = 0; m < modalities; ++m) {
    inputs.push_back(torch::randn({kBatch, kInputs}, torch::kDouble));
  }
  return inputs;
}

inline const torch::Tensor kTargets = torch::tensor({0, 2, 1, 2, 0});

/// Of logits [B, classes], or of maps of them.
inline torch::Tensor cross_entropy(const torch::Tensor& logits) {
  if (logits.dim() == 4) {
    const torch::Tensor classes = torch::arange(logits.numel() / logits.size(1)) % kClasses;
    return torch::nn::functional::cross_entropy(
        logits, classes.view({logits.size(0), logits.size(2), logits.size(3)}));
  }
  return torch::nn::functional::cross_entropy(logits, kTargets);
}

/// Of the samples that have modality `only`, or of all.
inline torch::Tensor cross_entropy_of(const torch::Tensor& logits, const Presence& presence,
                                      std::optional<size_t> only) {
  return presence.complete() || !only
             ? cross_entropy(logits)
             : torch::nn::functional::cross_entropy(logits, presence.pack(kTargets, *only));
}

using Gradients = std::map<std::string, torch::Tensor>;

inline Gradients gradients_of(const torch::nn::Module& module) {
  Gradients gradients;
  for (const auto& parameter : module.named_parameters()) {
    gradients[parameter.key()] = parameter.value().grad();
  }
  return gradients;
}

/// The definition: every loss is backpropagated in full on a graph of its own; then the parts are
/// picked and weighted. Undefined: no loss with a positive weight reaches the parameter.
inline Gradients naive_gradients(MultimodalModelImpl& model, const ModalityTensors& inputs,
                                 const GradientRoute& route,
                                 const Presence& presence = Presence()) {
  Gradients total;
  const auto named = model.named_parameters();
  const auto add = [&](const torch::Tensor& loss, const auto& weight_of) {
    const auto grads = torch::autograd::grad({loss}, named.values(), {}, false, false, true);
    for (size_t i = 0; i < grads.size(); ++i) {
      const std::string& name = named[i].key();
      const double weight = weight_of(name);
      if (grads[i].defined() && weight != 0) {
        torch::Tensor& sum = total[name];
        sum = sum.defined() ? sum + weight * grads[i] : weight * grads[i];
      } else {
        total.try_emplace(name);
      }
    }
  };
  const auto encoder_of = [&](const std::string& name) {
    for (size_t m = 0; m < model.size(); ++m) {
      if (name.starts_with("encoders." + model.name(m) + ".")) {
        return static_cast<int>(m);
      }
    }
    return -1;
  };
  add(cross_entropy(model.forward(inputs, presence)), [&](const std::string& name) {
    const int m = encoder_of(name);
    return m < 0 ? route.multimodal_to_fusion : route.multimodal_to_encoder[static_cast<size_t>(m)];
  });
  for (size_t alone = 0; alone < model.size(); ++alone) {
    ModalityTensors only(model.size());
    only[alone] = inputs[alone];
    add(cross_entropy_of(model.forward(only), presence, alone), [&](const std::string& name) {
      const int m = encoder_of(name);
      return m < 0 ? route.unimodal_to_fusion[alone]
                   : route.unimodal_to_encoder[static_cast<size_t>(m)];
    });
  }
  return total;
}

struct NamedRoute {
  std::string name;
  GradientRoute route;
};

inline std::vector<NamedRoute> routes_for(size_t modalities) {
  std::vector<NamedRoute> routes{
      {"joint", GradientRoute::joint()}, {"auxiliary", GradientRoute::auxiliary(0.7)},
      {"dgl", GradientRoute::dgl(4.0)},  {"unimodal", GradientRoute::unimodal()},
      {"soft", {0.3, 0.8, 1.7, 0.2}},
  };
  const GradientRoute full = GradientRoute::auxiliary(1.0);
  GradientRoute cut = full;
  cut.multimodal_to_encoder = 0.0;
  routes.push_back({"multimodal to encoder cut", cut});
  cut = full;
  cut.multimodal_to_fusion = 0.0;
  routes.push_back({"multimodal to fusion cut", cut});
  cut = full;
  cut.unimodal_to_encoder = 0.0;
  routes.push_back({"unimodal to encoder cut", cut});
  cut = full;
  cut.unimodal_to_fusion = 0.0;
  routes.push_back({"unimodal to fusion cut", cut});
  std::vector<double> mixed_multimodal;
  std::vector<double> mixed_unimodal;
  for (size_t m = 0; m < modalities; ++m) {
    mixed_multimodal.push_back(m == 0 ? 0.0 : 0.5 * static_cast<double>(m));
    mixed_unimodal.push_back(m == 1 ? 0.0 : 2.0);
  }
  routes.push_back({"a weight for each", {mixed_multimodal, 1.0, mixed_unimodal, 0.0}});
  routes.push_back(
      {"a weight for each view of the fusion", {1.0, 0.5, mixed_unimodal, mixed_multimodal}});
  return routes;
}

}  // namespace unbraid::testing
