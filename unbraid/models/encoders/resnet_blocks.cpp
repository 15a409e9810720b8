#include "unbraid/models/encoders/resnet_blocks.h"

namespace unbraid {
namespace {

using torch::Tensor;
using torch::nn::BatchNorm2d;
using torch::nn::Conv2d;

/// What the block adds to, given that it is not its input itself.
torch::nn::Sequential make_downsample(int64_t inputs, int64_t outputs, int64_t stride) {
  return torch::nn::Sequential(make_convolution(inputs, outputs, 1, stride), BatchNorm2d(outputs));
}

/// Strided 1x1 convolutions of fewer than 16 channels overwrite memory that is not theirs in the
/// oneDNN of LibTorch 1.13 (channels_last, odd batches, several threads), so that what they would
/// pass over is left out before.
Tensor downsampled(torch::nn::SequentialImpl& downsample, const Tensor& x) {
  constexpr int64_t kSafeChannels = 16;
  const auto& convolution = *downsample[0]->as<torch::nn::Conv2d>();
  const int64_t stride = (*convolution.options.stride())[0];
  if (!x.is_cpu() || stride == 1 || convolution.options.in_channels() >= kSafeChannels) {
    return downsample.forward(x);
  }
  const Tensor looked_at = x.slice(2, 0, c10::nullopt, stride)
                               .slice(3, 0, c10::nullopt, stride)
                               .contiguous(x.suggest_memory_format());
  return downsample[1]->as<BatchNorm2d>()->forward(torch::conv2d(looked_at, convolution.weight));
}

class BasicBlockImpl : public torch::nn::Module {
 public:
  BasicBlockImpl(int64_t inputs, int64_t outputs, int64_t stride)
      : conv1_(register_module("conv1", make_convolution(inputs, outputs, 3, stride))),
        bn1_(register_module("bn1", BatchNorm2d(outputs))),
        conv2_(register_module("conv2", make_convolution(outputs, outputs, 3, 1))),
        bn2_(register_module("bn2", BatchNorm2d(outputs))) {
    if (stride != 1 || inputs != outputs) {
      downsample_ = register_module("downsample", make_downsample(inputs, outputs, stride));
    }
  }

  Tensor forward(const Tensor& x) {
    const Tensor residual = downsample_ ? downsampled(*downsample_, x) : x;
    const Tensor hidden = torch::relu(bn1_->forward(conv1_->forward(x)));
    return torch::relu(bn2_->forward(conv2_->forward(hidden)) + residual);
  }

 private:
  Conv2d conv1_;
  BatchNorm2d bn1_;
  Conv2d conv2_;
  BatchNorm2d bn2_;
  torch::nn::Sequential downsample_{nullptr};
};
TORCH_MODULE(BasicBlock);

/// With the stride on the 3x3 convolution, as torchvision has it (and the paper has not).
class BottleneckImpl : public torch::nn::Module {
 public:
  BottleneckImpl(int64_t inputs, int64_t outputs, int64_t stride)
      : conv1_(register_module("conv1", make_convolution(inputs, outputs / 4, 1, 1))),
        bn1_(register_module("bn1", BatchNorm2d(outputs / 4))),
        conv2_(register_module("conv2", make_convolution(outputs / 4, outputs / 4, 3, stride))),
        bn2_(register_module("bn2", BatchNorm2d(outputs / 4))),
        conv3_(register_module("conv3", make_convolution(outputs / 4, outputs, 1, 1))),
        bn3_(register_module("bn3", BatchNorm2d(outputs))) {
    if (stride != 1 || inputs != outputs) {
      downsample_ = register_module("downsample", make_downsample(inputs, outputs, stride));
    }
  }

  Tensor forward(const Tensor& x) {
    const Tensor residual = downsample_ ? downsampled(*downsample_, x) : x;
    Tensor hidden = torch::relu(bn1_->forward(conv1_->forward(x)));
    hidden = torch::relu(bn2_->forward(conv2_->forward(hidden)));
    return torch::relu(bn3_->forward(conv3_->forward(hidden)) + residual);
  }

 private:
  Conv2d conv1_;
  BatchNorm2d bn1_;
  Conv2d conv2_;
  BatchNorm2d bn2_;
  Conv2d conv3_;
  BatchNorm2d bn3_;
  torch::nn::Sequential downsample_{nullptr};
};
TORCH_MODULE(Bottleneck);

}  // namespace

Conv2d make_convolution(int64_t inputs, int64_t outputs, int64_t kernel, int64_t stride) {
  return Conv2d(torch::nn::Conv2dOptions(inputs, outputs, kernel)
                    .stride(stride)
                    .padding(kernel / 2)
                    .bias(false));
}

torch::nn::Sequential make_stage(int64_t inputs, int64_t outputs, int64_t blocks, int64_t stride,
                                 ResNetBlock block) {
  torch::nn::Sequential stage;
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t block_inputs = i == 0 ? inputs : outputs;
    const int64_t block_stride = i == 0 ? stride : 1;
    if (block == ResNetBlock::kBasic) {
      stage->push_back(BasicBlock(block_inputs, outputs, block_stride));
    } else {
      stage->push_back(Bottleneck(block_inputs, outputs, block_stride));
    }
  }
  return stage;
}

}  // namespace unbraid
