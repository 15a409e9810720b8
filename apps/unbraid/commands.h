#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace unbraid {

// Each adds its subcommand to `app`; the subcommand runs in a callback and reports failures by
// throwing an Error.
void add_demo(CLI::App& app);
void add_train(CLI::App& app);
void add_eval(CLI::App& app);
void add_prepare(CLI::App& app);
void add_inspect(CLI::App& app);
void add_doctor(CLI::App& app);

// Options that several commands share.
/// `--set dotted.key=value`, repeatable.
void add_set(CLI::App& command, std::vector<std::string>& overrides);
/// What is wrong with an empty argument; a CLI11 check.
std::string not_empty(const std::string& given);
/// Throws an Error with kUsage when `path` is a file that does not start with `magic`, so that a
/// slip of the hand costs nobody a file of their own.
void refuse_to_replace(const std::string& path, const std::string& magic, const std::string& what);
/// `--out FOLDER`; an empty one is refused.
void add_out(CLI::App& command, std::string& out, const std::string& description);

}  // namespace unbraid
