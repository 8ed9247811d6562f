// What a stream says of the layers.
#include "serve/layer_uses.h"

#include <gtest/gtest.h>

namespace hunch::serve {
namespace {

TEST(LayerUses, AreThousandths) {
  std::vector<LayerUse> layers(3);
  layers[0].neurons = {1, 3};
  layers[0].heads = {12, 12};
  layers[1].neurons = {1, 100000};
  layers[2].neurons = {0, 100000};
  layers[2].heads = {5, 8};
  EXPECT_EQ(dump(layer_uses(layers)), R"({"neurons":[333,1,0],"heads":[1000,null,625]})");
  EXPECT_EQ(dump(layer_uses({})), "{}");
}

TEST(TokenUses, AreToldOnceAndWithTheirChoice) {
  TokenUses uses(2);
  std::vector<LayerUse> layers(1);
  Json event = {{"index", 0}};
  uses.add(0, {});
  uses.tell(0, event);
  EXPECT_EQ(dump(event), R"({"index":0})") << "nobody asked";
  for (const uint64_t n : {1, 2}) {
    layers[0].heads = {n, 2};
    uses.add(1, layers);
  }
  uses.tell(0, event);
  EXPECT_EQ(dump(event), R"({"index":0})") << "of the other choice";
  uses.tell(1, event);
  EXPECT_EQ(dump(event), R"({"index":0,"hunch":{"tokens":[{"heads":[500]},{"heads":[1000]}]}})");
  Json next = {{"index", 1}};
  uses.tell(1, next);
  EXPECT_EQ(dump(next), R"({"index":1})");
}

}  // namespace
}  // namespace hunch::serve
