#include "apps/unbraid/commands.h"

#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "unbraid/core/error.h"

namespace unbraid {

std::string not_empty(const std::string& given) {
  return given.empty() ? "expected a name, got nothing" : "";
}

void refuse_to_replace(const std::string& path, const std::string& magic, const std::string& what) {
  std::error_code failure;
  if (!std::filesystem::is_regular_file(path, failure)) {
    return;  // not there, or refused when it is written
  }
  std::string start(magic.size(), '\0');
  std::ifstream(path, std::ios::binary)
      .read(start.data(), static_cast<std::streamsize>(start.size()));
  if (start != magic) {
    throw Error(ExitCode::kUsage,
                fmt::format("{}: is there already and is not {}; remove it or name another file",
                            path, what));
  }
}

void add_set(CLI::App& command, std::vector<std::string>& overrides) {
  command
      .add_option("--set", overrides,
                  "Change a key of the recipe: dotted.key=value; may be repeated")
      ->take_all()
      ->expected(1);
}

void add_out(CLI::App& command, std::string& out, const std::string& description) {
  command.add_option("--out", out, description)->check(not_empty);
}

}  // namespace unbraid
