#include <hunch/generate.h>

#include <iostream>

int main(int argc, char** argv) try {
  if (argc != 2) return 2;
  hunch::LanguageModel model(argv[1]);
  const hunch::Generation g = hunch::generate(model, "Once upon a time", {.n_tokens = 8, .temperature = 0});
  std::cout << "C++: " << g.ids.size() << " tokens\n";
  return g.ids.size() == 8 ? 0 : 1;
} catch (const hunch::Error& e) {
  std::cerr << hunch::name_of(e.kind()) << ": " << e.what() << '\n';
  return 3;
}
