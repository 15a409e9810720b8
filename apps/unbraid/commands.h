#pragma once

#include <CLI/CLI.hpp>

namespace unbraid {

// Each adds its subcommand to `app`; the subcommand runs in a callback and reports failures by
// throwing an Error.
void add_demo(CLI::App& app);
void add_train(CLI::App& app);
void add_eval(CLI::App& app);
void add_doctor(CLI::App& app);

}  // namespace unbraid
