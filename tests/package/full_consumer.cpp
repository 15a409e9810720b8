#include <iostream>

#include "unbraid/training/recipe.h"

int main() {
  try {
    unbraid::parse_recipe("seed = 1\n", "recipe.toml");
  } catch (const unbraid::RecipeError& error) {
    std::cout << error.what() << "\n";
    return 0;
  }
  return 1;
}
