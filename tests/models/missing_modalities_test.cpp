#include <gtest/gtest.h>

#include "models/fusion_cases.h"

namespace unbraid {
namespace {

using namespace unbraid::testing;  // NOLINT(google-build-using-namespace)

/// Six samples of which some lack modalities, every one having at least one.
torch::Tensor mask_for(size_t modalities) {
  torch::Tensor mask = torch::ones({6, static_cast<int64_t>(modalities)}, torch::kBool);
  if (modalities > 1) {
    for (int64_t sample = 1; sample < 6; ++sample) {
      mask[sample][sample % static_cast<int64_t>(modalities)] = false;
    }
    mask[5].fill_(false);
    mask[5][static_cast<int64_t>(modalities) - 1] = true;
  }
  return mask;
}

ModalityTensors packed(const ModalityTensors& features, const Presence& presence) {
  ModalityTensors result;
  for (size_t m = 0; m < features.size(); ++m) {
    result.push_back(presence.pack(features[m], m));
  }
  return result;
}

/// What the fusion gives for one sample alone, absent features being undefined.
torch::Tensor one_by_one(Fusion& fusion, const ModalityTensors& features,
                         const torch::Tensor& mask) {
  std::vector<torch::Tensor> rows;
  for (int64_t sample = 0; sample < mask.size(0); ++sample) {
    ModalityTensors present(features.size());
    for (size_t m = 0; m < features.size(); ++m) {
      if (mask[sample][static_cast<int64_t>(m)].item<bool>()) {
        present[m] = features[m].narrow(0, sample, 1);
      }
    }
    rows.push_back(fusion.forward(present));
  }
  return torch::cat(rows);
}

TEST(MissingModalities, EverySampleIsFusedByWhatItHas) {
  for (const FusionCase& one : fusion_cases()) {
    SCOPED_TRACE(one.type + " of " + std::to_string(one.modalities));
    const auto fusion = make_fusion_of(one);
    fusion->eval();
    const torch::Tensor mask = mask_for(one.modalities);
    const ModalityTensors features = random_features_of(one, mask.size(0));
    MultimodalModel model;
    for (const std::string& name : shape_of_case(one).modalities) {
      model->add_encoder(name, torch::nn::Identity());
    }
    model->set_fusion(fusion);
    const Presence presence(mask);
    const torch::Tensor fused = model->fuse(packed(features, presence), presence);
    EXPECT_TRUE(torch::allclose(fused, one_by_one(*fusion, features, mask), 1e-9, 1e-12));
  }
}

/// Gradients of the features too: a sample's row depends on what it has and on nothing else.
TEST(MissingModalities, GradientsAreThoseOfEachSampleAlone) {
  for (const FusionCase& one : fusion_cases()) {
    SCOPED_TRACE(one.type + " of " + std::to_string(one.modalities));
    const auto fusion = make_fusion_of(one);
    fusion->eval();
    const torch::Tensor mask = mask_for(one.modalities);
    ModalityTensors features = random_features_of(one, mask.size(0));
    for (torch::Tensor& feature : features) {
      feature.set_requires_grad(true);
    }
    const Presence presence(mask);
    ModalityTensors zeroed;
    for (size_t m = 0; m < features.size(); ++m) {
      zeroed.push_back(presence.spread(presence.pack(features[m], m), m));
    }
    const auto parameters = fusion->parameters();
    std::vector<torch::Tensor> inputs(parameters.begin(), parameters.end());
    inputs.insert(inputs.end(), features.begin(), features.end());
    const auto gradients = [&](const torch::Tensor& output) {
      return torch::autograd::grad({output.square().sum()}, inputs, {}, false, false, true);
    };
    const auto expected = gradients(one_by_one(*fusion, features, mask));
    const auto actual = gradients(fusion->forward(zeroed, presence));
    for (size_t i = 0; i < expected.size(); ++i) {
      const torch::Tensor zero = torch::zeros_like(inputs[i]);
      EXPECT_TRUE(torch::allclose(actual[i].defined() ? actual[i] : zero,
                                  expected[i].defined() ? expected[i] : zero, 1e-9, 1e-12))
          << i;
    }
  }
}

TEST(MissingModalities, IsTheModelBuiltWithoutTheAbsentOne) {
  for (const std::string type :
       {"sum", "low-rank", "transformer", "mmtm", "central", "shared-head"}) {
    SCOPED_TRACE(type);
    const FusionCase three{type, 3};
    const auto full = make_fusion_of(three);
    full->eval();
    ModalityTensors features = random_features_of(three, 4);
    FusionShape shape = shape_of_case(three);
    for (auto* list : {&shape.modalities}) {
      list->erase(list->begin() + 1);
    }
    shape.feature_sizes.erase(shape.feature_sizes.begin() + 1);
    shape.feature_kinds.erase(shape.feature_kinds.begin() + 1);
    const auto rebuilt = make_fusion_of({type, 2}, shape);
    rebuilt->eval();
    copy_without(*full, *rebuilt, /*absent=*/1, three);
    features[1] = torch::Tensor();
    EXPECT_TRUE(torch::allclose(full->forward(features),
                                rebuilt->forward({features[0], features[2]}), 1e-9, 1e-12));
  }
}

/// A fusion of a user's own that knows nothing of presence.
class PlainFusionImpl : public torch::nn::Module {
 public:
  torch::Tensor forward(const ModalityTensors& features) {
    ++calls;
    torch::Tensor sum;
    for (size_t m = 0; m < features.size(); ++m) {
      if (features[m].defined()) {
        const torch::Tensor part = features[m] * static_cast<double>(m + 1);
        sum = sum.defined() ? sum * part : part;
      }
    }
    return sum;
  }
  int calls = 0;
};
TORCH_MODULE(PlainFusion);

TEST(MissingModalities, FusionsThatDoNotKnowPresenceRunByGroups) {
  PlainFusion fusion;
  MultimodalModel model;
  for (const char* name : {"a", "b"}) {
    model->add_encoder(name, torch::nn::Identity());
  }
  model->set_fusion(fusion);
  const torch::Tensor mask = torch::tensor({1, 0, 1, 1, 0, 1, 1, 1}).to(torch::kBool).view({4, 2});
  const Presence presence(mask);
  const torch::Tensor a = torch::tensor({{2.0}, {3.0}, {5.0}, {7.0}});
  const torch::Tensor b = torch::tensor({{11.0}, {13.0}, {17.0}, {19.0}});
  const torch::Tensor fused = model->fuse({presence.pack(a, 0), presence.pack(b, 1)}, presence);
  EXPECT_TRUE(torch::equal(fused, torch::tensor({{2.0}, {3.0 * 26.0}, {34.0}, {7.0 * 38.0}})));
  EXPECT_EQ(fusion->calls, 3);
}

}  // namespace
}  // namespace unbraid
