#include "unbraid/models/encoders/encoder.h"

#include <array>

#include "unbraid/models/encoders/cnn.h"
#include "unbraid/models/encoders/embedding.h"
#include "unbraid/models/encoders/mlp.h"
#include "unbraid/models/encoders/resnet.h"
#include "unbraid/models/encoders/sequence_cnn.h"
#include "unbraid/models/encoders/torchscript.h"

namespace unbraid {
namespace {

struct Entry {
  const char* type;
  EncoderBuilder (*read)(Options&);
};

constexpr std::array kEncoders{
    Entry{"resnet18", ResNet::read},
    Entry{"cnn", Cnn::read},
    Entry{"cnn1d", SequenceCnn::read},
    Entry{"mlp", Mlp::read},
    Entry{"embedding", EmbeddingEncoder::read},
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
  return features.view({input.size(0), input.size(1), -1}).mean(1);
}

}  // namespace unbraid
