#include "unbraid/models/script_source.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <sstream>
#include <vector>

namespace unbraid::script {

void Lines::add_under(const std::string& head, const Lines& inner) {
  add("{}", head);
  std::istringstream lines(inner.text());
  for (std::string line; std::getline(lines, line);) {
    add("{}", line);
  }
}

std::string submodule_name(const std::string& name) {
  constexpr std::array kReserved{
      "False",    "None",     "True",     "and",    "as",    "assert", "async",   "await",
      "break",    "class",    "continue", "def",    "del",   "elif",   "else",    "except",
      "finally",  "for",      "from",     "global", "if",    "import", "in",      "is",
      "lambda",   "nonlocal", "not",      "or",     "pass",  "raise",  "return",  "self",
      "try",      "while",    "with",     "yield",  "torch", "print",  "getattr", "Tensor",
      "Optional", "training", "forward"};
  const bool reserved = std::find(kReserved.begin(), kReserved.end(), name) != kReserved.end();
  return reserved ? "modality_" + name : name;
}

std::string path(const std::string& name) {
  std::string expression = "self";
  std::istringstream parts(name);
  for (std::string part; std::getline(parts, part, '.');) {
    const bool number = std::isdigit(static_cast<unsigned char>(part.front())) != 0;
    expression = number ? fmt::format("getattr({}, \"{}\")", expression, part)
                        : fmt::format("{}.{}", expression, submodule_name(part));
  }
  return expression;
}

std::string linear(const std::string& x, const std::string& layer) {
  return fmt::format("torch.linear({}, {}.weight, {}.bias)", x, path(layer), path(layer));
}

std::string norm(const std::string& x, const std::string& layer) {
  const std::string self = path(layer);
  return fmt::format(
      "torch.batch_norm({}, {}.weight, {}.bias, {}.running_mean, {}.running_var, self.training, "
      "0.1, 1e-05, True)",
      x, self, self, self, self);
}

std::string layer_norm(const std::string& x, const std::string& layer,
                       const torch::nn::LayerNormOptions& options) {
  const std::string self = path(layer);
  return fmt::format("torch.layer_norm({}, [{}], {}.weight, {}.bias, {})", x,
                     fmt::join(options.normalized_shape(), ", "), self, self, options.eps());
}

std::string encoder(const Lines& body) {
  return fmt::format("def forward(self, x: Tensor) -> Tensor:\n{}", body.text());
}

std::string over_frames(const Lines& body) {
  return fmt::format(
      "def forward(self, input: Tensor) -> Tensor:\n"
      "  x = input\n"
      "  if input.dim() == 5:\n"
      "    x = torch.flatten(input, 0, 1)\n"
      "{}"
      "  if input.dim() == 5:\n"
      "    x = torch.mean(torch.unflatten(x, 0, [input.size(0), input.size(1)]), [1])\n"
      "  return x\n",
      body.text());
}

std::string fusion(size_t modalities, const Lines& body) {
  std::vector<std::string> arguments;
  for (size_t m = 0; m < modalities; ++m) {
    arguments.push_back(fmt::format("z{}: Optional[Tensor]", m));
  }
  return fmt::format("def forward(self, {}) -> Tensor:\n{}", fmt::join(arguments, ", "),
                     body.text());
}

}  // namespace unbraid::script
