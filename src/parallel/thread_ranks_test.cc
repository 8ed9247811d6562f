#include "parallel/thread_ranks.h"

#include <gtest/gtest.h>

#include <functional>
#include <numeric>
#include <thread>

#include "base/error.h"
#include "parallel/message.h"

namespace hunch {
namespace {

// each(rank) on a thread of its own. Returns what each of them threw; "" where nothing.
std::vector<std::string> on_threads(size_t n, double timeout, const std::function<void(Communicator&)>& each) {
  auto ranks = thread_ranks(n, timeout);
  std::vector<std::string> errors(n);
  std::vector<std::thread> threads;
  for (size_t r = 0; r < n; ++r)
    threads.emplace_back([&, r] {
      try {
        each(*ranks[r]);
      } catch (const Error& e) {
        errors[r] = e.what();
      }
    });
  for (std::thread& thread : threads) thread.join();
  return errors;
}

TEST(ThreadRanks, SumsAreTheSameOnAll) {
  for (const size_t n : {1, 2, 3, 4})
    for (const size_t size : {0, 1, 7, 1000}) {
      std::vector<std::vector<float>> got(n);
      const auto errors = on_threads(n, 60, [&](Communicator& ranks) {
        for (int round = 0; round < 3; ++round) {
          std::vector<float> x(size);
          for (size_t i = 0; i < size; ++i) x[i] = 0.1f * float(i) + float(ranks.rank() + size_t(round));
          ranks.sum(x);
          got[ranks.rank()] = x;
        }
      });
      EXPECT_EQ(errors, std::vector<std::string>(n));
      for (size_t r = 0; r < n; ++r) EXPECT_EQ(got[r], got[0]);
      float others = 0;
      for (size_t r = 0; r < n; ++r) others += float(r + 2);
      for (size_t i = 0; i < size; ++i) EXPECT_NEAR(got[0][i], float(n) * 0.1f * float(i) + others, 1e-3f);
    }
}

TEST(ThreadRanks, PartsOfDifferentSizesComeTogetherOnTheFirst) {
  const std::vector<size_t> sizes = {2, 0, 3};
  std::vector<float> got;
  on_threads(3, 60, [&](Communicator& ranks) {
    std::vector<float> own(sizes[ranks.rank()], float(ranks.rank()) + 0.5f), all(ranks.leads() ? 5 : 0);
    ranks.gather(own, sizes, all);
    if (ranks.leads()) got = all;
  });
  EXPECT_EQ(got, (std::vector<float>{0.5f, 0.5f, 2.5f, 2.5f, 2.5f}));
}

TEST(ThreadRanks, NumbersGoFromOneToTheNext) {
  std::vector<float> got(2);
  on_threads(3, 60, [&](Communicator& ranks) {
    const std::vector<float> x = {1, 2};
    if (ranks.rank() == 1) ranks.send(2, x);
    if (ranks.rank() == 2) ranks.receive(1, got);
  });
  EXPECT_EQ(got, (std::vector<float>{1, 2}));
}

TEST(ThreadRanks, MessagesOfEverySizeArrive) {
  for (const size_t n : {0, 1, 100, 125, 126, 127, 5000}) {
    std::vector<int32_t> list(n);
    std::iota(list.begin(), list.end(), 5);
    std::vector<bool> same(3);
    const auto errors = on_threads(3, 60, [&](Communicator& ranks) {
      if (ranks.leads()) {
        Message message;
        message.put(uint8_t{7});
        message.put_list(std::span<const int32_t>(list));
        message.put_text("end");
        message.send(ranks);
        EXPECT_TRUE(message.empty());
        return;
      }
      Message message = Message::receive(ranks);
      same[ranks.rank()] = message.get<uint8_t>() == 7 && message.get_list<int32_t>() == list &&
                           message.get_text() == "end" && message.at_end();
    });
    EXPECT_EQ(errors, std::vector<std::string>(3));
    EXPECT_TRUE(same[1] && same[2]) << n;
  }
}

TEST(ThreadRanks, WhatRankZeroSaysIsTheAnswer) {
  for (const bool word : {false, true}) {
    std::vector<char> got(3, 2);
    on_threads(3, 60, [&](Communicator& ranks) { got[ranks.rank()] = ranks.agree(ranks.leads() ? word : !word); });
    EXPECT_EQ(got, std::vector<char>(3, char(word)));
  }
}

TEST(ThreadRanks, NobodyWaitsForARankThatIsGone) {
  const auto errors = on_threads(3, 0.2, [&](Communicator& ranks) {
    std::vector<float> x(3);
    if (ranks.rank() != 1) ranks.sum(x);
  });
  for (const size_t r : {0, 2}) EXPECT_NE(errors[r].find("did not answer for 0.2 s"), std::string::npos) << errors[r];
  EXPECT_EQ(errors[1], "");
}

TEST(ThreadRanks, WhoeverEndsTheJobEndsItForAllAndIsNamed) {
  const auto errors = on_threads(3, 60, [&](Communicator& ranks) {
    if (ranks.rank() == 2) ranks.abort("no memory");
    std::byte byte{};
    ranks.broadcast({&byte, 1}, Wait::kIdle);
  });
  for (const std::string& error : errors) EXPECT_EQ(error, "rank 2 of 3: no memory");
}

}  // namespace
}  // namespace hunch
