#pragma once

#include <string>
#include <vector>

#include "unbraid/training/recipe.h"

namespace unbraid {

/// The first input of each modality that can be read.
struct FirstInputs {
  ModalityTensors inputs;
  std::vector<size_t> rows;  // the samples that they are of
};

/// Throws DataError when no training sample has some modality, or the first cannot be read.
FirstInputs first_inputs(const ManifestDataSet& train, const Recipe& recipe);

/// The recipe's model, through which one sample was run, so that an encoder which does not fit its
/// data is a RecipeError found before there is a run. Where some batch of training holds a single
/// sample, it was run in training mode too.
MultimodalModel build_checked_model(const Recipe& recipe, const ManifestDataSet& train,
                                    const FirstInputs& first);

/// As read_recipe; sizes of features that it leaves to be found (`feature_size = 0`) are found from
/// the first training samples, checksums of TorchScript files from these.
Recipe read_sized_recipe(const std::string& path, const std::vector<std::string>& overrides);

}  // namespace unbraid
