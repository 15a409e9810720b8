#include <iostream>

#include "unbraid/routing/gradient_route.h"

int main() {
  std::cout << unbraid::GradientRoute::dgl(4.0);
  return 0;
}
