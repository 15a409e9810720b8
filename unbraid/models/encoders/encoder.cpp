#include "unbraid/models/encoders/encoder.h"

#include <array>
#include <vector>

#include "unbraid/models/encoders/cnn.h"
#include "unbraid/models/encoders/embedding.h"
#include "unbraid/models/encoders/mlp.h"
#include "unbraid/models/encoders/resnet.h"
#include "unbraid/models/encoders/sequence_cnn.h"
#include "unbraid/models/encoders/torchscript.h"
#include "unbraid/models/encoders/transformer.h"
#include "unbraid/models/encoders/vision_transformer.h"

namespace unbraid {
namespace {

struct Entry {
  const char* type;
  EncoderBuilder (*read)(Options&);
};

constexpr std::array kEncoders{
    Entry{"resnet18", ResNet::read},
    Entry{"resnet34", ResNet::read},
    Entry{"resnet50", ResNet::read},
    Entry{"cnn", Cnn::read},
    Entry{"cnn1d", SequenceCnn::read},
    Entry{"mlp", Mlp::read},
    Entry{"embedding", EmbeddingEncoder::read},
    Entry{"vit_s", VisionTransformer::read},
    Entry{"transformer", TransformerEncoder::read},
    Entry{"torchscript", TorchScriptEncoder::read},
};

}  // namespace

const char* name_of(FeatureKind kind) {
  constexpr std::array kNames{"vector", "tokens", "maps"};
  return kNames.at(static_cast<size_t>(kind));
}

EncoderBuilder read_encoder(Options& options) { return choose(options, kEncoders).read(options); }

torch::Tensor encode_frames(const torch::Tensor& input,
                            const std::function<torch::Tensor(const torch::Tensor&)>& encode) {
  TORCH_CHECK(input.dim() == 4 || input.dim() == 5,
              "[encoder] expected images [B, C, H, W] or clips [B, N, C, H, W], got ",
              input.sizes());
  if (input.dim() == 4) {
    return encode(input);
  }
  const torch::Tensor features = encode(input.flatten(0, 1));
  std::vector<int64_t> sizes = features.sizes().vec();
  sizes.front() = input.size(1);
  sizes.insert(sizes.begin(), input.size(0));
  return features.view(sizes).mean(1);
}

}  // namespace unbraid
