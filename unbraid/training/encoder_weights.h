#pragma once

#include <string>

#include "unbraid/core/options.h"
#include "unbraid/core/torch.h"

namespace unbraid {

/// Initial weights of one encoder.
struct EncoderWeights {
  std::string path;             // safetensors, or a state dict of PyTorch; empty: none
  bool partial = false;         // parameters that the file lacks keep their random values
  bool adapt_channels = false;  // of an input convolution of 3 channels to those of the encoder
};

/// Reads `weights` and its keys from the table of a modality.
EncoderWeights read_encoder_weights(Options& options);

/// Sets the parameters and buffers of `encoder` from a file that has them by the encoder's own
/// names. What the file has beyond them (a classifier) is left out. Adapted channels are the mean
/// over the three, times 3 / n for n channels, so that inputs alike in all channels give what they
/// gave. Returns a line of what was found, for a person; `name` is the modality's. Throws
/// StorageError naming the file and the tensor on another shape, or when a tensor of the encoder is
/// missing; num_batches_tracked may be, which old versions of PyTorch did not have.
std::string load_encoder_weights(torch::nn::Module& encoder, const EncoderWeights& weights,
                                 const std::string& name);

}  // namespace unbraid
