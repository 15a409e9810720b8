#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "routing/routing_fixtures.h"
#include "unbraid/methods/method.h"
#include "unbraid/tasks/classification.h"

namespace unbraid::testing {

using Entries = std::vector<std::pair<std::string, Value>>;

inline Value text(const char* value) { return {std::string(value), "r.toml:2"}; }
inline Value number(double value) { return {value, "r.toml:3"}; }
inline Value integer(int64_t value) { return {value, "r.toml:3"}; }

inline const std::shared_ptr<const Task>& classification() {
  static const std::shared_ptr<const Task> kTask =
      std::make_shared<Classification>(ClassificationOptions{.classes = kClasses});
  return kTask;
}

/// What a recipe's [method] table with these entries says.
inline std::shared_ptr<Method> read(Entries entries,
                                    const std::vector<std::string>& modalities = {"audio",
                                                                                  "visual"},
                                    const Task& task = *classification()) {
  Value table = Value::table("r.toml:1");
  *std::get<Value::TablePointer>(table.data) = std::move(entries);
  Options options(table, "method");
  auto method = read_method(options, {modalities, &task});
  options.finish();
  return method;
}

/// The batch of the routing fixtures, every sample with every modality.
inline Batch make_batch(size_t modalities) {
  Batch batch;
  batch.inputs = make_inputs(modalities);
  batch.target = kTargets;
  batch.ids.resize(static_cast<size_t>(kTargets.size(0)), "id");
  return batch;
}

/// The same where sample 1 lacks the first modality and sample 3 the last one.
inline Batch make_incomplete_batch(size_t modalities) {
  Batch batch = make_batch(modalities);
  torch::Tensor mask = torch::ones({kBatch, static_cast<int64_t>(modalities)}, torch::kBool);
  mask[1][0] = false;
  mask[3][static_cast<int64_t>(modalities) - 1] = false;
  batch.presence = Presence(mask);
  for (size_t m = 0; m < modalities; ++m) {
    batch.inputs[m] = batch.presence.pack(batch.inputs[m], m);
  }
  return batch;
}

/// The gradients that `method` gives `model` for `batch`.
inline Gradients gradients_by(Method& method, MultimodalModelImpl& model, const Batch& batch,
                              int64_t epoch = 1) {
  for (torch::Tensor& parameter : model.parameters()) {
    parameter.mutable_grad() = torch::Tensor();
  }
  method.backward({.model = model, .batch = batch, .task = *classification(), .epoch = epoch});
  return gradients_of(model);
}

/// Both undefined, or equal to rounding.
inline ::testing::AssertionResult same(const torch::Tensor& found, const torch::Tensor& expected) {
  if (found.defined() != expected.defined()) {
    return ::testing::AssertionFailure() << (found.defined() ? "defined" : "undefined");
  }
  if (found.defined() && !torch::allclose(found, expected, 1e-9, 1e-12)) {
    return ::testing::AssertionFailure() << found << "\nexpected\n" << expected;
  }
  return ::testing::AssertionSuccess();
}

}  // namespace unbraid::testing
