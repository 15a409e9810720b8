#pragma once

#include <functional>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "unbraid/core/error.h"
#include "unbraid/core/options.h"
#include "unbraid/tasks/task.h"

namespace unbraid::testing {

/// What the Failure says that `action` throws.
template <typename Failure>
std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Failure& failure) {
    return failure.what();
  }
  return "nothing thrown";
}

inline std::string label_error(const Task& task, const std::string& label) {
  return message_of<DataError>([&] { static_cast<void>(task.target(label)); });
}

inline std::map<std::string, double> by_name(const Metrics& metrics) {
  const auto values = metrics.values();
  return {values.begin(), values.end()};
}

/// A [task] table of a recipe, as read_task takes it.
inline std::shared_ptr<const Task> task_of(
    const std::vector<std::pair<std::string, Value>>& entries) {
  Value table = Value::table();
  for (const auto& [key, value] : entries) {
    assign(*std::get<Value::TablePointer>(table.data), key, value);
  }
  Options options(table, "task");
  auto task = read_task(options);
  options.finish();
  return task;
}

template <typename T>
Value list_of(const std::vector<T>& entries) {
  Value::List list;
  for (const T& entry : entries) {
    list.push_back({entry, ""});
  }
  return {list, ""};
}

inline std::string recipe_error(const std::vector<std::pair<std::string, Value>>& entries) {
  return message_of<RecipeError>([&] { task_of(entries); });
}

/// A value of a recipe.
template <typename T>
Value value(const T& data) {
  return {data, ""};
}
inline Value value(const char* data) { return {std::string(data), ""}; }

/// The gradient of the loss at double `output` is that of finite differences.
inline void expect_gradient(const Task& task, const torch::Tensor& output,
                            const torch::Tensor& target) {
  const torch::Tensor at = output.clone().requires_grad_(true);
  task.loss(at, target).backward();
  for (int64_t i = 0; i < output.numel(); ++i) {
    constexpr double kStep = 1e-6;
    const auto moved = [&](double by) {
      torch::Tensor copy = output.clone();
      copy.view(-1)[i] += by;
      return task.loss(copy, target).item<double>();
    };
    EXPECT_NEAR(at.grad().view(-1)[i].item<double>(), (moved(kStep) - moved(-kStep)) / (2 * kStep),
                1e-7)
        << i;
  }
}

}  // namespace unbraid::testing
