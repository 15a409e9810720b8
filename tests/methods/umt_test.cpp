#include "unbraid/methods/umt.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "methods/testing.h"
#include "temporary_folder.h"

namespace unbraid {
namespace {

using namespace unbraid::testing;  // NOLINT(google-build-using-namespace)

/// The recipe's model with other weights, as a unimodal run saves it.
MultimodalModel teacher_of(const std::string& modality) {
  MultimodalModel teacher;
  torch::manual_seed(21);
  teacher->add_encoder(modality, NormedEncoder());
  teacher->set_fusion(std::make_shared<SumFusion>(FusionShape{{modality}, {kFeature}, kClasses}));
  const torch::NoGradGuard no_grad;
  for (torch::Tensor& buffer : teacher->buffers()) {
    if (buffer.is_floating_point()) {
      buffer.uniform_(0.5, 1.5);
    }
  }
  teacher->to(torch::kDouble);
  return teacher;
}

std::string save(const MultimodalModel& teacher, const std::filesystem::path& path) {
  NamedTensors tensors;
  for (const auto& entry : teacher->named_parameters()) {
    tensors.emplace_back(entry.key(), entry.value().detach());
  }
  for (const auto& entry : teacher->named_buffers()) {
    tensors.emplace_back(entry.key(), entry.value());
  }
  write_safetensors(path.string(), tensors);
  return path.string();
}

Value table_of(Entries entries) {
  Value table = Value::table("r.toml:4");
  *std::get<Value::TablePointer>(table.data) = std::move(entries);
  return table;
}

std::shared_ptr<Method> umt(const Entries& teachers, const char* base = "joint") {
  return read({{"type", text("umt")}, {"teachers", table_of(teachers)}, {"base", text(base)}},
              {"audio", "image"});
}

void begin(Method& method, MultimodalModelImpl& model) {
  method.begin_epoch({.model = model, .for_each_encoded = {}});
}

TEST(Umt, AddsThePullOfTheTeachers) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "run/checkpoints/best");
  save(teacher_of("image"), folder / "run/checkpoints/best/model.safetensors");
  const auto audio = save(teacher_of("audio"), folder / "audio.safetensors");
  const auto run = (folder / "run").string();
  for (const char* base : {"joint", "dgl"}) {
    for (const Batch& batch : {make_batch(2), make_incomplete_batch(2)}) {
      SCOPED_TRACE(base);
      const auto method = umt({{"audio", text(audio.c_str())}, {"image", text(run.c_str())}}, base);
      MultimodalModel model = make_model("concat", 2);
      begin(*method, *model);
      const auto found = gradients_by(*method, *model, batch);

      auto expected =
          naive_gradients(*make_model("concat", 2), batch.inputs, method->route(), batch.presence);
      MultimodalModel reference = make_model("concat", 2);
      for (size_t m = 0; m < 2; ++m) {
        MultimodalModel teacher = teacher_of(reference->name(m));
        teacher->eval();
        const torch::Tensor target = teacher->encode(0, batch.inputs[m]).detach();
        const torch::Tensor distance =
            torch::mse_loss(reference->encode(m, batch.inputs[m]), target);
        EXPECT_NEAR(method->choices().at("distance." + reference->name(m)), distance.item<double>(),
                    1e-9);
        (10 * distance).backward();
      }
      for (const auto& [name, gradient] : gradients_of(*reference)) {
        if (gradient.defined()) {
          expected[name] = expected[name] + gradient;
        }
      }
      for (const auto& [name, gradient] : found) {
        EXPECT_TRUE(same(gradient, expected.at(name))) << name;
      }
    }
  }
}

TEST(Umt, LeavesTheModelAsTheBaseWould) {
  const TemporaryFolder folder;
  const auto path = save(teacher_of("audio"), folder / "audio.safetensors");
  const auto method = umt({{"audio", text(path.c_str())}});
  MultimodalModel model = make_model("sum", 2);
  MultimodalModel plain = make_model("sum", 2);
  for (const MultimodalModel& one : {model, plain}) {
    MultimodalModel(one)->encoder(0).named_children()["bn"]->eval();
  }
  begin(*method, *model);
  const Batch batch = make_batch(2);
  gradients_by(*method, *model, batch);
  gradients_by(*read({{"type", text("joint")}}), *plain, batch);
  for (size_t i = 0; i < model->parameters().size(); ++i) {
    EXPECT_TRUE(torch::equal(model->parameters()[i], plain->parameters()[i])) << i;
  }
  for (size_t i = 0; i < model->buffers().size(); ++i) {
    EXPECT_TRUE(torch::equal(model->buffers()[i], plain->buffers()[i])) << i;
  }
  for (const auto& part : model->named_modules("", false)) {
    EXPECT_EQ(part.value()->is_training(), part.key() != "encoders.audio.bn") << part.key();
  }
}

TEST(Umt, AFrozenEncoderLearnsNothing) {
  const TemporaryFolder folder;
  const auto path = save(teacher_of("audio"), folder / "audio.safetensors");
  const auto method = umt({{"audio", text(path.c_str())}});
  MultimodalModel model = make_model("sum", 2);
  for (torch::Tensor& parameter : model->encoder(0).parameters()) {
    parameter.set_requires_grad(false);
  }
  begin(*method, *model);
  for (const auto& [name, gradient] : gradients_by(*method, *model, make_batch(2))) {
    EXPECT_EQ(gradient.defined(), !name.starts_with("encoders.audio.")) << name;
  }
}

TEST(Umt, SaysWhatIsWrongWithATeacher) {
  const TemporaryFolder folder;
  const auto audio = save(teacher_of("audio"), folder / "audio.safetensors");
  const auto expect_error = [](const Entries& teachers, const std::string& what) {
    try {
      const auto method = umt(teachers);
      MultimodalModel model = make_model("sum", 2);
      begin(*method, *model);
      ADD_FAILURE() << "nothing was thrown";
    } catch (const StorageError& error) {
      EXPECT_NE(std::string(error.what()).find(what), std::string::npos) << error.what();
    }
  };
  expect_error({{"audio", text((folder / "none").string().c_str())}}, "none");
  expect_error({{"image", text(audio.c_str())}}, "expected a tensor encoders.image.fc.weight");
  write_safetensors((folder / "small").string(),
                    {{"encoders.audio.fc.weight", torch::zeros({2, 2})}});
  expect_error({{"audio", text((folder / "small").string().c_str())}},
               "encoders.audio.fc.weight: expected the shape [4, 6], got [2, 2]");
}

TEST(Umt, WantsATeacherOfAModalityThatThereIs) {
  EXPECT_THROW(umt({}), RecipeError);
  EXPECT_THROW(umt({{"lidar", text("a")}}), RecipeError);
  EXPECT_THROW(umt({{"audio", text("a")}, {"lidar", text("a")}}), RecipeError);
}

}  // namespace
}  // namespace unbraid
