#include "unbraid/methods/cml.h"

#include <set>

#include <gtest/gtest.h>

#include "methods/testing.h"

namespace unbraid {
namespace {

using namespace unbraid::testing;  // NOLINT(google-build-using-namespace)

torch::Tensor confidence(const torch::Tensor& logits) {
  return std::get<0>(torch::softmax(logits, 1).max(1));
}

TEST(Cml, LearnsFromTheFormula) {
  const Batch batch = make_batch(3);
  for (const bool of_batch : {false, true}) {
    SCOPED_TRACE(of_batch ? "batch" : "sample");
    const auto method = read({{"type", text("cml")},
                              {"lambda", number(2)},
                              {"hinge", text(of_batch ? "batch" : "sample")}},
                             {"audio", "image", "text"});
    const auto gradients = gradients_by(*method, *make_model("gated", 2), make_batch(2), 4);
    EXPECT_TRUE(gradients.begin()->second.defined());

    const auto removed = Cml::order(0, 4, 3);
    MultimodalModel reference = make_model("concat", 3);
    const torch::Tensor full = reference->forward(batch.inputs);
    torch::Tensor loss = cross_entropy(full);
    torch::Tensor penalty = torch::zeros({}, torch::kDouble);
    ModalityTensors left = batch.inputs;
    for (size_t i = 0; i < 2; ++i) {
      left[removed[i]] = torch::Tensor();
      const torch::Tensor partial = reference->forward(left);
      loss = loss + cross_entropy(partial);
      const torch::Tensor rise = confidence(partial) - confidence(full);
      penalty = penalty + (of_batch ? rise.sum().relu() : rise.relu().mean());
    }
    (loss / 3 + 2 * penalty).backward();
    const auto expected = gradients_of(*reference);
    for (const auto& [name, gradient] : gradients_by(*method, *make_model("concat", 3), batch, 4)) {
      EXPECT_TRUE(same(gradient, expected.at(name))) << name;
    }
    EXPECT_NEAR(method->choices().at("penalty"), penalty.item<double>(), 1e-12);
  }
}

TEST(Cml, DrawsAnOrderForEachEpoch) {
  EXPECT_EQ(Cml::order(1, 2, 4), Cml::order(1, 2, 4));
  std::set<std::vector<size_t>> orders;
  for (int64_t epoch = 1; epoch <= 50; ++epoch) {
    orders.insert(Cml::order(1, epoch, 3));
  }
  EXPECT_EQ(orders.size(), 6);
}

TEST(Cml, TakesBatchesThatLackModalities) {
  const auto method = read({{"type", text("cml")}});
  for (const auto& [name, gradient] :
       gradients_by(*method, *make_model("concat", 2), make_incomplete_batch(2))) {
    EXPECT_TRUE(gradient.defined() && torch::isfinite(gradient).all().item<bool>()) << name;
  }
}

}  // namespace
}  // namespace unbraid
