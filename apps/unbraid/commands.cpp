#include "apps/unbraid/commands.h"

namespace unbraid {

void add_set(CLI::App& command, std::vector<std::string>& overrides) {
  command
      .add_option("--set", overrides,
                  "Change a key of the recipe: dotted.key=value; may be repeated")
      ->take_all()
      ->expected(1);
}

void add_out(CLI::App& command, std::string& out, const std::string& description) {
  command.add_option("--out", out, description)->check([](const std::string& given) {
    return std::string(given.empty() ? "expected the name of a folder" : "");
  });
}

}  // namespace unbraid
