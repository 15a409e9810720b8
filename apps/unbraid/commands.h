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
void add_probe(CLI::App& app);
void add_compare(CLI::App& app);
void add_report(CLI::App& app);
void add_prepare(CLI::App& app);
void add_inspect(CLI::App& app);
void add_predict(CLI::App& app);
void add_export(CLI::App& app);
void add_doctor(CLI::App& app);

// Options that several commands share.
/// `--set dotted.key=value`, repeatable.
void add_set(CLI::App& command, std::vector<std::string>& overrides);
/// What is wrong with an empty argument; a CLI11 check.
std::string not_empty(const std::string& given);
/// Throws an Error with kUsage when `path` is a file that does not start with `magic`, so that a
/// slip of the hand costs nobody a file of their own.
void refuse_to_replace(const std::string& path, const std::string& magic, const std::string& what);
/// `--absent NAME`, repeatable; its description gets "; may be repeated".
void add_absent(CLI::App& command, std::vector<std::string>& absent,
                const std::string& description);
/// The modalities that `--absent` names, as flags; throws an Error with kUsage when it names none
/// of them, or all.
std::vector<bool> read_absent(const std::vector<std::string>& absent,
                              const std::vector<std::string>& modalities);
/// `message` without what a file name or a cell could do to a terminal.
std::string on_one_line(std::string message);
/// `--out FOLDER`; an empty one is refused.
void add_out(CLI::App& command, std::string& out, const std::string& description);

}  // namespace unbraid
