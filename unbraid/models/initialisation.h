#pragma once

#include <cstdint>

#include "unbraid/core/torch.h"

namespace unbraid {

/// Draws every parameter of `module` anew, as the reference implementations of OGM-GE, PMR and DGL
/// do: Linear weights Xavier-normal, convolutions Kaiming-normal (fan out, ReLU), embeddings
/// standard normal, weights of norms 1, biases 0; every other parameter, such as a class token, is
/// normal with deviation 0.02, as in ViT. What is drawn depends on the seed and the parameter's
/// name alone, so that a part starts equal in every model that has it, whatever else that model
/// holds.
void initialise(torch::nn::Module& module, uint64_t seed);

}  // namespace unbraid
