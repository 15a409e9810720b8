#include "unbraid/media/decoder.h"

#include "media/fixtures.h"

namespace unbraid {
namespace {

using testing::message_of;
using testing::options_of;

/// The keys that a kind has beside `kind`.
Value keys_of(const std::string& kind) {
  Options options = options_of({{"kind", kind}});
  const auto decoder = make_decoder(options);
  options.finish();
  return options.resolved();
}

TEST(MakeDecoder, BuildsByKind) {
  for (const auto& [kind, key] : {std::pair{"audio", "hop"},
                                  {"image", "crop_scale"},
                                  {"video", "fps"},
                                  {"array", "table"},
                                  {"text", "length"}}) {
    const Value keys = keys_of(kind);
    EXPECT_NE(find(*std::get<Value::TablePointer>(keys.data), key), nullptr) << kind;
  }
}

TEST(MakeDecoder, NamesTheKindsWhenAskedForAnother) {
  const std::string message = message_of<RecipeError>([] { keys_of("imagee"); });
  for (const char* part : {"recipe.toml:2", "kind", "audio", "image", "video", "array", "text"}) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }
}

TEST(MakeDecoder, WritesItsDefaultsOut) {
  const Value resolved = keys_of("audio");
  const auto& table = *std::get<Value::TablePointer>(resolved.data);
  for (const char* key : {"kind", "sample_rate", "seconds", "n_fft", "hop", "window", "pad_mode",
                          "log_offset", "normalize", "decode_mb", "decode_seconds"}) {
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
