#pragma once

#include <string>
#include <vector>

#include "unbraid/core/torch.h"

namespace unbraid {

/// Takes the parameters that `patterns` match (training/parameter_patterns.h) out of training: they
/// get no gradient, so that no optimizer changes them. Throws RecipeError that begins with `key`
/// when a pattern matches none, or when none is left to train.
void freeze(torch::nn::Module& module, const std::vector<std::string>& patterns,
            const std::string& key);

/// Puts `module` into training mode, but those of its modules whose parameters are all frozen into
/// evaluation mode: their BatchNorm keeps its running statistics, their dropout is off.
void train_unfrozen(torch::nn::Module& module);

}  // namespace unbraid
