#include "unbraid/models/fusions/decoder.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "models/finite_differences.h"
#include "routing/routing_fixtures.h"

namespace unbraid {
namespace {

using namespace unbraid::testing;  // NOLINT(google-build-using-namespace)

const std::vector<int64_t> kChannels{3, 5, 2};

FusionShape wide_shape(size_t modalities) {
  FusionShape shape = map_shape_of(modalities);
  shape.map = {8, 12};
  return shape;
}

// In double precision, with random parameters and statistics.
std::shared_ptr<DecoderFusion> make_decoder_fusion(const FusionShape& shape) {
  auto fusion = std::make_shared<DecoderFusion>(shape, kChannels);
  fusion->to(torch::kDouble);
  torch::manual_seed(3);
  const torch::NoGradGuard no_grad;
  for (torch::Tensor& parameter : fusion->parameters()) {
    parameter.normal_();
  }
  for (auto& buffer : fusion->named_buffers()) {
    if (buffer.value().is_floating_point()) {
      buffer.value().uniform_(0.5, 1.5);
    }
  }
  return fusion;
}

// Maps of three resolutions: smaller than the sum, of its size, and larger.
ModalityTensors random_maps(size_t modalities) {
  torch::manual_seed(5);
  const std::vector<std::vector<int64_t>> sizes{{1, 2}, {2, 3}, {5, 4}};
  ModalityTensors maps;
  for (size_t m = 0; m < modalities; ++m) {
    maps.push_back(torch::randn({kBatch, kFeature, sizes[m][0], sizes[m][1]}, torch::kDouble));
  }
  return maps;
}

using Plane = std::vector<std::vector<double>>;
using Maps = std::vector<Plane>;  // by channel, row and column

Plane plane(size_t height, size_t width) { return Plane(height, std::vector<double>(width, 0.0)); }

/// Bilinear, the corners of pixels aligned, not their centres.
Plane resized_by_hand(const Plane& input, size_t height, size_t width) {
  Plane output = plane(height, width);
  const auto place = [](size_t i, size_t inputs, size_t outputs) {
    const double centre =
        (static_cast<double>(i) + 0.5) * static_cast<double>(inputs) / static_cast<double>(outputs);
    return std::clamp(centre - 0.5, 0.0, static_cast<double>(inputs - 1));
  };
  for (size_t y = 0; y < height; ++y) {
    for (size_t x = 0; x < width; ++x) {
      const double v = place(y, input.size(), height);
      const double u = place(x, input[0].size(), width);
      for (size_t row = 0; row < input.size(); ++row) {
        for (size_t column = 0; column < input[0].size(); ++column) {
          const double weight = std::max(0.0, 1 - std::abs(v - static_cast<double>(row))) *
                                std::max(0.0, 1 - std::abs(u - static_cast<double>(column)));
          output[y][x] += weight * input[row][column];
        }
      }
    }
  }
  return output;
}

/// One sample in eval mode, with loops over single numbers.
torch::Tensor by_hand(const torch::nn::Module& fusion, const FusionShape& shape,
                      const ModalityTensors& features, int64_t sample) {
  const auto p = fusion.named_parameters();
  const auto b = fusion.named_buffers();
  const auto at = [](const torch::Tensor& tensor, std::initializer_list<int64_t> place) {
    torch::Tensor value = tensor;
    for (const int64_t i : place) {
      value = value[i];
    }
    return value.item<double>();
  };
  const auto blocks = static_cast<int64_t>(kChannels.size()) - 1;
  size_t height = static_cast<size_t>(shape.map[0] >> blocks);
  size_t width = static_cast<size_t>(shape.map[1] >> blocks);
  Maps x(static_cast<size_t>(kChannels[0]), plane(height, width));
  for (size_t m = 0; m < features.size(); ++m) {
    if (!features[m].defined()) {
      continue;
    }
    const std::string name = "project_" + shape.modalities[m];
    for (int64_t c = 0; c < kChannels[0]; ++c) {
      Plane projected = plane(features[m].size(2), features[m].size(3));
      for (int64_t row = 0; row < features[m].size(2); ++row) {
        for (int64_t column = 0; column < features[m].size(3); ++column) {
          double sum = at(p[name + ".bias"], {c});
          for (int64_t d = 0; d < kFeature; ++d) {
            sum +=
                at(p[name + ".weight"], {c, d, 0, 0}) * at(features[m], {sample, d, row, column});
          }
          projected[row][column] = sum;
        }
      }
      const Plane same = resized_by_hand(projected, height, width);
      for (size_t row = 0; row < height; ++row) {
        for (size_t column = 0; column < width; ++column) {
          x[c][row][column] += same[row][column];
        }
      }
    }
  }
  for (int64_t i = 1; i <= blocks; ++i) {
    height *= 2;
    width *= 2;
    for (Plane& map : x) {
      map = resized_by_hand(map, height, width);
    }
    const std::string conv = "conv" + std::to_string(i) + ".weight";
    const std::string bn = "bn" + std::to_string(i) + ".";
    Maps next(static_cast<size_t>(kChannels[i]), plane(height, width));
    for (int64_t c = 0; c < kChannels[i]; ++c) {
      for (int64_t row = 0; row < static_cast<int64_t>(height); ++row) {
        for (int64_t column = 0; column < static_cast<int64_t>(width); ++column) {
          double sum = 0;
          for (int64_t d = 0; d < kChannels[i - 1]; ++d) {
            for (int64_t v = -1; v <= 1; ++v) {
              for (int64_t u = -1; u <= 1; ++u) {
                const bool inside = row + v >= 0 && row + v < static_cast<int64_t>(height) &&
                                    column + u >= 0 && column + u < static_cast<int64_t>(width);
                sum += inside ? at(p[conv], {c, d, v + 1, u + 1}) * x[d][row + v][column + u] : 0;
              }
            }
          }
          sum = (sum - at(b[bn + "running_mean"], {c})) /
                    std::sqrt(at(b[bn + "running_var"], {c}) + 1e-5) * at(p[bn + "weight"], {c}) +
                at(p[bn + "bias"], {c});
          next[c][row][column] = std::max(0.0, sum);
        }
      }
    }
    x = next;
  }
  torch::Tensor output = torch::zeros({kClasses, shape.map[0], shape.map[1]}, torch::kDouble);
  for (int64_t c = 0; c < kClasses; ++c) {
    for (int64_t row = 0; row < shape.map[0]; ++row) {
      for (int64_t column = 0; column < shape.map[1]; ++column) {
        double sum = at(p["out.bias"], {c});
        for (int64_t d = 0; d < kChannels.back(); ++d) {
          sum += at(p["out.weight"], {c, d, 0, 0}) * x[d][row][column];
        }
        output[c][row][column] = sum;
      }
    }
  }
  return output;
}

TEST(DecoderFusion, ComputesItsFormulaOfAnySubset) {
  const torch::NoGradGuard no_grad;
  const FusionShape shape = wide_shape(3);
  const auto fusion = make_decoder_fusion(shape);
  fusion->eval();
  for (const auto& present : std::vector<std::vector<size_t>>{{0, 1, 2}, {0, 2}, {1}, {2}}) {
    ModalityTensors features(3);
    for (const size_t m : present) {
      features[m] = random_maps(3)[m];
    }
    const torch::Tensor output = fusion->forward(features);
    ASSERT_EQ(output.sizes(), (std::vector<int64_t>{kBatch, kClasses, 8, 12}));
    EXPECT_TRUE(torch::allclose(output[2], by_hand(*fusion, shape, features, 2), 1e-9, 1e-10))
        << present.size() << " from " << present.front();
  }
}

// Each sample's row is what a fusion that never had its absent modalities makes of it.
TEST(DecoderFusion, ARowIsThatOfAFusionBuiltWithoutTheAbsentModalities) {
  const torch::NoGradGuard no_grad;
  const auto fusion = make_decoder_fusion(wide_shape(3));
  fusion->eval();
  const torch::Tensor mask = torch::tensor({1, 1, 1, 0, 1, 0, 1, 0, 1, 0, 0, 1, 1, 1, 0})
                                 .view({kBatch, 3})
                                 .to(torch::kBool);
  ModalityTensors features = random_maps(3);
  for (int64_t m = 0; m < 3; ++m) {
    features[m] = features[m] * mask.select(1, m).view({-1, 1, 1, 1});
  }
  const torch::Tensor output = fusion->forward(features, Presence(mask));
  for (int64_t sample = 0; sample < kBatch; ++sample) {
    FusionShape shape = wide_shape(3);
    ModalityTensors present;
    std::vector<std::string> names;
    for (int64_t m = 0; m < 3; ++m) {
      if (mask[sample][m].item<bool>()) {
        present.push_back(features[m].narrow(0, sample, 1));
        names.push_back(shape.modalities[m]);
      }
    }
    shape.modalities = names;
    shape.feature_sizes.resize(names.size());
    shape.feature_kinds.resize(names.size());
    const auto rebuilt = make_decoder_fusion(shape);
    rebuilt->eval();
    const auto trained = fusion->named_parameters();
    for (auto& parameter : rebuilt->named_parameters()) {
      parameter.value().copy_(trained[parameter.key()]);
    }
    const auto statistics = fusion->named_buffers();
    for (auto& buffer : rebuilt->named_buffers()) {
      buffer.value().copy_(statistics[buffer.key()]);
    }
    EXPECT_TRUE(torch::allclose(output[sample], rebuilt->forward(present)[0], 1e-9, 1e-10))
        << sample;
  }
}

TEST(DecoderFusion, GradientsAreFiniteDifferencesFusedAloneAndWithAbsences) {
  const auto fusion = make_decoder_fusion(wide_shape(3));
  ModalityTensors features = random_maps(3);
  for (torch::Tensor& feature : features) {
    feature.set_requires_grad(true);
  }
  const Presence some(torch::tensor({1, 1, 1, 0, 1, 0, 1, 0, 1, 0, 0, 1, 1, 1, 0})
                          .view({kBatch, 3})
                          .to(torch::kBool));
  const std::vector<std::function<torch::Tensor()>> views{
      [&] { return fusion->forward(features); },
      [&] { return fusion->forward(features, some); },
      [&] {
        return fusion->forward({features[0], {}, {}});
      },
      [&] {
        return fusion->forward({{}, features[1], {}});
      },
      [&] {
        return fusion->forward({{}, {}, features[2]});
      },
  };
  for (size_t view = 0; view < views.size(); ++view) {
    SCOPED_TRACE(view);
    const auto loss = [&] { return cross_entropy(views[view]()); };
    for (torch::Tensor& feature : features) {
      expect_finite_differences(feature, loss);
    }
    for (torch::Tensor& parameter : fusion->parameters()) {
      expect_finite_differences(parameter, loss);
    }
  }
}

std::string refusal_of(const std::string& type, const FusionShape& shape) {
  Value table = Value::table("r.toml:1");
  assign(*std::get<Value::TablePointer>(table.data), "type", {type, "r.toml:2"});
  Options options(table, "fusion");
  try {
    read_fusion(options)(shape);
  } catch (const RecipeError& error) {
    return error.what();
  }
  return "";
}

TEST(DecoderFusion, IsForMapsAndNothingElseIs) {
  FusionShape shape = map_shape_of(2);
  shape.map = {64, 48};
  EXPECT_EQ(refusal_of("decoder", shape), "");
  for (const char* type :
       {"concat", "sum", "film", "gated", "low-rank", "central", "mmtm", "transformer"}) {
    EXPECT_EQ(refusal_of(type, shape),
              fmt::format("[{}] this fusion gives one output for each sample, but the task wants "
                          "one for each pixel, as the fusion \"decoder\" gives",
                          type));
  }
  FusionShape vectors = shape;
  vectors.feature_kinds[1] = FeatureKind::kVector;
  EXPECT_EQ(refusal_of("decoder", vectors),
            "[decoder] this fusion takes maps, but the encoder of image gives vectors");
  shape.map = {64, 50};
  EXPECT_EQ(refusal_of("decoder", shape),
            "[decoder] 3 blocks double the size 3 times, so the sides of the output have to be "
            "multiples of 8, got 64 x 50; see task.size and fusion.channels");
  shape.map = {};
  EXPECT_EQ(refusal_of("decoder", shape),
            "[decoder] this fusion gives an output for each pixel, but the task wants one for each "
            "sample");
  EXPECT_EQ(refusal_of("concat", shape),
            "[concat] this fusion takes vectors, but the encoder of audio gives maps");
  EXPECT_EQ(refusal_of("mmtm", shape), "");
  EXPECT_EQ(refusal_of("transformer", shape), "");
}

TEST(DecoderFusion, ParameterNamesAreThoseOfTheContract) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(DecoderFusion(map_shape_of(2), {3, 5}).named_parameters().keys(),
            (Names{"project_audio.weight", "project_audio.bias", "project_image.weight",
                   "project_image.bias", "conv1.weight", "bn1.weight", "bn1.bias", "out.weight",
                   "out.bias"}));
}

}  // namespace
}  // namespace unbraid
