#pragma once

#include "unbraid/methods/method.h"
#include "unbraid/training/run_directory.h"
#include "unbraid/training/settings.h"
#include "unbraid/training/trainer.h"

namespace unbraid {

/// Trains as the run would from its state `from` on, with the same order of samples, augmentation,
/// random layers, learning rates and clipping, but with a new optimizer and by `trial`; then lets
/// it look and puts parameters and buffers back. `observer` may be null. Throws Error with
/// kDiverged on a loss or gradient that is not finite.
void run_trial(const TrainingParts& parts, const TrainingSettings& settings, const RunState& from,
               const Trial& trial, TrainingObserver* observer = nullptr);

}  // namespace unbraid
