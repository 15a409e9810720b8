#include "unbraid/training/torch_file.h"

#include <filesystem>
#include <map>
#include <random>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "temporary_folder.h"

namespace unbraid {
namespace {

using unbraid::testing::read_text;
using unbraid::testing::TemporaryFolder;
using unbraid::testing::write_text;

std::map<std::string, torch::Tensor> read(const std::filesystem::path& path) {
  const NamedTensors tensors = read_torch_file(File(path.string()));
  return {tensors.begin(), tensors.end()};
}

/// What the DataError says that reading throws; "" when it throws nothing.
std::string refusal(const std::filesystem::path& path) {
  try {
    read(path);
  } catch (const DataError& error) {
    const std::string message = error.what();
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_TRUE(message.starts_with(path.string())) << message;
    return message;
  }
  return "";
}

/// What PyTorch itself wrote (write_torch_corpus.py).
std::filesystem::path from_torch(const std::string& name) {
  return std::filesystem::path(UNBRAID_SOURCE_DIR) / "tests/fuzz/corpus/pth" / name;
}

torch::Tensor arange(int64_t end) { return torch::arange(end, torch::kFloat); }

TEST(TorchFile, ReadsWhatPyTorchWrites) {
  const torch::Tensor base = arange(12).view({3, 4});
  const torch::Tensor pair = torch::tensor({1.5, -2.0}, torch::kDouble);
  const NamedTensors expected = {
      {"conv1.weight", arange(24).view({2, 3, 2, 2})},
      {"half", pair.to(torch::kHalf)},
      {"brain", pair.to(torch::kBFloat16)},
      {"double", pair},
      {"count", torch::tensor(int64_t{7})},
      {"truth", torch::tensor({true, false})},
      {"transposed", base.t()},
      {"view", base.slice(0, 1).slice(1, 1, 3)},
      {"expanded", torch::tensor({4.0F, 4.0F, 4.0F})},
      {"parameter", torch::tensor({5.0F, 6.0F})},
      {"empty", torch::zeros({0, 3})},
  };
  for (const char* name : {"state.pth", "state_legacy.pth"}) {
    SCOPED_TRACE(name);
    const File file(from_torch(name).string());
    EXPECT_TRUE(is_torch_file(file));
    const NamedTensors found = read_torch_file(file);
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(found[i].first, expected[i].first);
      EXPECT_EQ(found[i].second.scalar_type(), expected[i].second.scalar_type());
      EXPECT_TRUE(torch::equal(found[i].second, expected[i].second)) << found[i].first;
    }
    EXPECT_EQ(found[6].second.strides(), base.t().strides());
    EXPECT_EQ(found[6].second.data_ptr(), found[7].second.storage().data());  // as in PyTorch
  }
}

TEST(TorchFile, FindsTheStateDictOfACheckpoint) {
  for (const char* name : {"checkpoint.pth", "checkpoint_legacy.pth"}) {
    const auto tensors = read(from_torch(name));
    EXPECT_EQ(tensors.size(), 5) << name;
    EXPECT_TRUE(tensors.contains("running_mean")) << name;
    EXPECT_EQ(tensors.at("num_batches_tracked").item<int64_t>(), 1) << name;
  }
  EXPECT_NE(refusal(from_torch("module.pth"))
                .find("expected a state dict (torch.save of model.state_dict()), found the call of "
                      "\"torch.nn.modules.batchnorm.BatchNorm1d\""),
            std::string::npos)
      << refusal(from_torch("module.pth"));
}

TEST(TorchFile, ReadsWhatLibTorchPickles) {
  const TemporaryFolder folder;
  c10::Dict<std::string, torch::Tensor> dict;
  dict.insert("w", arange(6).view({2, 3}));
  dict.insert("b", arange(4).view({2, 2}).t());
  const std::vector<char> bytes = torch::pickle_save(dict);
  write_text(folder / "a.pth", std::string(bytes.begin(), bytes.end()));
  const auto tensors = read(folder / "a.pth");
  ASSERT_EQ(tensors.size(), 2);
  EXPECT_TRUE(torch::equal(tensors.at("w"), dict.at("w")));
  EXPECT_TRUE(torch::equal(tensors.at("b"), dict.at("b")));
  torch::save(dict.at("w"), (folder / "b.pth").string());
  EXPECT_NE(refusal(folder / "b.pth").find("a TorchScript archive, which holds code"),
            std::string::npos)
      << refusal(folder / "b.pth");
}

/// Files that write_torch_files.py makes.
class WrittenTorchFile : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    ASSERT_EQ(std::system(fmt::format("/usr/bin/python3 {}/tests/training/write_torch_files.py {}",
                                      UNBRAID_SOURCE_DIR, folder_->path().string())
                              .c_str()),
              0);
  }
  static void TearDownTestSuite() { delete folder_; }

  static std::filesystem::path file(const std::string& name) { return *folder_ / name; }

  static TemporaryFolder* folder_;
};

TemporaryFolder* WrittenTorchFile::folder_ = nullptr;

TEST_F(WrittenTorchFile, OldAndNewFormsAreRead) {
  const torch::Tensor expected = arange(6).view({2, 3});
  for (const char* name :
       {"good.pth", "order.pth", "module.pth", "unused.pth", "evil_beside.pth"}) {
    const auto tensors = read(file(name));
    ASSERT_EQ(tensors.size(), 1) << name;
    EXPECT_TRUE(torch::equal(tensors.at("w"), expected)) << name;
  }
  const auto first = read(file("first.pth"));
  EXPECT_TRUE(torch::equal(first.at("w"), expected));
  EXPECT_TRUE(torch::equal(first.at("v"), expected));
  EXPECT_TRUE(read(file("one_module.pth")).contains("module.w"));
}

TEST_F(WrittenTorchFile, BadOnesAreRefusedByWhatIsWrong) {
  const std::string beyond = "expected a tensor within the 6 values of storage \"0\" (sizes ";
  const std::string numbers = "up to 32 sizes or strides of at least 0";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"evil", R"(expected a tensor, found the call of "posix.system" (of "w"))"},
      {"evil_legacy", R"(expected a tensor, found the call of "posix.system" (of "w"))"},
      {"evil_root",
       "expected a state dict (torch.save of model.state_dict()), found the call of "
       "\"posix.system\""},
      {"evil_storage", "expected a storage, found the call of \"posix.system\""},
      {"rows", beyond + "[3, 3], strides [3, 1], from 0)"},
      {"offset", beyond + "[2, 3], strides [3, 1], from 1)"},
      {"far", beyond},
      {"far_empty", beyond},
      {"huge", beyond},
      {"huge_empty", beyond},
      {"stride", beyond},
      {"negative_size", numbers},
      {"negative_stride", numbers},
      {"negative_offset", "a place in a storage, found the integer -1"},
      {"dimensions", numbers},
      {"strides", "2 strides, one for each size"},
      {"sizes", numbers},
      {"short", "expected 24 bytes as storage \"0\", found 16"},
      {"long", "expected 24 bytes as storage \"0\", found 28"},
      {"absurd", "expected 9223372036854775808 bytes as storage \"0\", found 24"},
      {"more_absurd", "expected 18446744073709551615 bytes as storage \"0\", found 24"},
      {"minus", "a storage that is no part of another"},
      {"part", "a storage that is no part of another"},
      {"complex", "found the global \"torch.ComplexFloatStorage\""},
      {"truth", "expected truth values of 0 or 1"},
      {"no_storage", "expected a storage \"any/data/0\", there is none"},
      {"types", "expected one type and size of storage \"0\""},
      {"number", "expected a tensor, found the integer 3 (of \"epoch\")"},
      {"keys", "a dict of tensors by name"},
      {"list", "expected a state dict (torch.save of model.state_dict()), found a list of 1"},
      {"whole", "found the call of \"torchvision.models.resnet.ResNet\""},
      {"script", "a TorchScript archive, which holds code"},
      {"big", "expected values that are little-endian"},
      {"other", "a ZIP archive without data.pkl"},
      {"packed", "expected \"any/data.pkl\" as PyTorch stores it, uncompressed"},
      {"bomb", "uncompressed"},
      {"overlap", ""},
      {"system", "a system that is little-endian"},
      {"count", "expected storage \"0\" of 24 bytes, found 7 values in 32 bytes"},
      {"absurd_count", "expected storage \"0\" of 9223372036854775808 bytes"},
      {"stranger", "the key of a storage"},
      {"missing", "expected 24 bytes as storage \"0\", there are none"},
      {"version", "the version 1001"},
  };
  for (const auto& [name, says] : cases) {
    const std::string message = refusal(file(name + ".pth"));
    EXPECT_NE(message, "") << name;
    EXPECT_NE(message.find(says), std::string::npos)
        << name << ": '" << says << "' is not in: " << message;
  }
  EXPECT_FALSE(std::filesystem::exists(file("ran")));
  EXPECT_TRUE(torch::equal(read(file("key.pth")).at("w"), arange(6).view({2, 3})));
}

TEST_F(WrittenTorchFile, OtherFilesAreNone) {
  write_text(file("nonsense"), "nonsense");
  EXPECT_FALSE(is_torch_file(File(file("nonsense").string())));
  EXPECT_NE(refusal(file("nonsense")).find("expected a file of PyTorch"), std::string::npos);
  write_text(file("empty.zip"), std::string("PK\x05\x06") + std::string(18, '\0'));
  EXPECT_NE(refusal(file("empty.zip")), "");
}

TEST_F(WrittenTorchFile, EveryTruncationIsRefused) {
  for (const char* name : {"state.pth", "state_legacy.pth"}) {
    const std::string whole = read_text(from_torch(name));
    for (size_t size = 1; size < whole.size(); size += 1 + size % 17) {
      write_text(file("cut"), whole.substr(0, size));
      EXPECT_NE(refusal(file("cut")), "") << name << " " << size;
    }
  }
}

TEST_F(WrittenTorchFile, DamageIsReadOrRefused) {
  std::mt19937 random(1);
  for (const char* name : {"state.pth", "state_legacy.pth", "checkpoint_legacy.pth"}) {
    const std::string whole = read_text(from_torch(name));
    int refused = 0;
    for (int round = 0; round < 200; ++round) {
      std::string damaged = whole;
      for (int flip = 0; flip <= round % 3; ++flip) {
        damaged[random() % damaged.size()] = static_cast<char>(random());
      }
      write_text(file("damaged"), damaged);
      refused += refusal(file("damaged")).empty() ? 0 : 1;
    }
    EXPECT_GT(refused, 60) << name;
  }
}

}  // namespace
}  // namespace unbraid
