#include <hunch/generate.h>

#include <iostream>

extern "C" int c_consumer(const char* path);

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  hunch::LanguageModel model(argv[1]);
  const hunch::Generation g = hunch::generate(model, "Once upon a time", {.n_tokens = 8, .temperature = 0});
  std::cout << "C++: " << g.ids.size() << " tokens\n";
  return g.ids.size() == 8 ? c_consumer(argv[1]) : 1;
}
