#include "unbraid/media/decoder.h"

#include "media/fixtures.h"
#include "unbraid/media/array.h"
#include "unbraid/media/audio.h"
#include "unbraid/media/image.h"

namespace unbraid {
namespace {

using testing::message_of;
using testing::options_of;

template <typename T>
bool builds(const std::string& kind) {
  Options options = options_of({{"kind", kind}});
  const auto decoder = make_decoder(options);
  options.finish();
  return dynamic_cast<const T*>(decoder.get()) != nullptr;
}

TEST(MakeDecoder, BuildsByKind) {
  EXPECT_TRUE(builds<AudioDecoder>("audio"));
  EXPECT_TRUE(builds<ImageDecoder>("image"));
  EXPECT_TRUE(builds<ArrayDecoder>("array"));
}

TEST(MakeDecoder, NamesTheKindsWhenAskedForAnother) {
  const std::string message = message_of<RecipeError>([] { builds<AudioDecoder>("imagee"); });
  for (const char* part : {"recipe.toml:2", "kind", "audio", "image", "array"}) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }
}

TEST(MakeDecoder, WritesItsDefaultsOut) {
  Options options = options_of({{"kind", std::string("audio")}});
  make_decoder(options);
  const Value resolved = options.resolved();
  const auto& table = *std::get<Value::TablePointer>(resolved.data);
  for (const char* key : {"kind", "sample_rate", "seconds", "n_fft", "hop", "window", "pad_mode",
                          "log_offset", "normalize"}) {
    EXPECT_NE(find(table, key), nullptr) << key;
  }
}

TEST(SampleContext, DrawsByAllItHolds) {
  const SampleContext context{.seed = 1, .epoch = 2, .id = "a", .modality = "face"};
  const auto draw = [](const SampleContext& at) { return at.random("crop").bits(); };
  EXPECT_EQ(draw(context), draw(context));
  EXPECT_NE(draw(context), context.random("flip").bits());
  for (const SampleContext& other :
       {SampleContext{.seed = 2, .epoch = 2, .id = "a", .modality = "face"},
        SampleContext{.seed = 1, .epoch = 3, .id = "a", .modality = "face"},
        SampleContext{.seed = 1, .epoch = 2, .id = "b", .modality = "face"},
        SampleContext{.seed = 1, .epoch = 2, .id = "a", .modality = "scene"}}) {
    EXPECT_NE(draw(context), draw(other));
  }
}

}  // namespace
}  // namespace unbraid
