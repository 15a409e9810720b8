#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

namespace unbraid {

/// What `unbraid probe` found (docs/probe.md has the keys), as tables for a person.
std::string format_probe(const nlohmann::json& probe);

}  // namespace unbraid
