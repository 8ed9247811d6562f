"""Ctrl-C ends a call that computes, in every kind of call, and everything works afterwards."""
import os
import signal
import threading
import time
import unittest

import hunch
from fixtures import PROMPT, ModelTest, demo_text


class Interrupts(ModelTest):
    def interrupted(self, call, after=0.15):
        """Ctrl-C so many seconds into the call."""
        timer = threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        start = time.monotonic()
        try:
            with self.assertRaises(KeyboardInterrupt):
                call()
                while True:  # it was quicker than that
                    time.sleep(1)
            return time.monotonic() - start
        finally:
            timer.join()

    def test_calls_end_soon(self):
        text = demo_text("book.txt", 60000)
        batch = hunch.Batch(self.model, n_sequences=1)
        batch.add(PROMPT, n_tokens=10**6, ignore_end=True, kv_policy="streaming:64")
        scorer = hunch.Scorer(self.model)
        calls = {
            "generate": lambda: self.model.generate(PROMPT, n_tokens=10**6, ignore_end=True, kv_policy="streaming:64"),
            "callback": lambda: self.model.generate(PROMPT, lambda piece: time.sleep(0.001), n_tokens=10**6, ignore_end=True, kv_policy="streaming:64"),
            "stream": lambda: list(self.model.stream(PROMPT, n_tokens=10**6, ignore_end=True, kv_policy="streaming:64")),
            "batch": batch.run,
            "perplexity": lambda: self.model.perplexity(text),
            "compare": lambda: self.model.compare(text, ["dense", "exact"]),
            "calibrate": lambda: self.model.calibrate(text, sidecar=self.path("never.hunch")),
            "embed": lambda: self.model.embed([text[i:i + 800] for i in range(0, len(text), 800)] * 9),
            "score": lambda: [scorer.score(text[i:i + 300], " end") for i in range(0, len(text), 20)],
        }
        for name, call in calls.items():
            with self.subTest(name):
                self.assertLess(self.interrupted(call), 20)  # a busy machine; a second on an idle one
        self.assertEqual(len(self.model.generate(PROMPT, n_tokens=3).ids), 3)
        self.assertFalse(os.path.exists(self.path("never.hunch")))

    def test_waiting_for_ones_turn_ends_too(self):
        stop = threading.Event()
        other = threading.Thread(target=lambda: self.model.generate(PROMPT, lambda piece: not stop.wait(0.01), n_tokens=10**6, ignore_end=True,
                                                                    kv_policy="streaming:64"))
        other.start()
        try:
            time.sleep(0.1)
            self.interrupted(lambda: self.model.tokenize("a"))
        finally:
            stop.set()
            other.join()

    def test_a_handler_that_does_not_raise_lets_the_call_go_on(self):
        seen = []
        before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
        try:
            timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
            timer.start()
            answer = self.model.generate(PROMPT, lambda piece: time.sleep(0.02), n_tokens=10, ignore_end=True)
            timer.join()
        finally:
            signal.signal(signal.SIGUSR1, before)
        self.assertEqual((len(answer.ids), seen), (10, [1]))

    def test_an_interrupted_session_is_as_good_as_new(self):
        session = hunch.Session(self.model)
        session.read(PROMPT)
        self.interrupted(lambda: session.generate("", lambda piece: time.sleep(0.01), n_tokens=200, ignore_end=True))
        session.truncate(len(self.model.tokenize(PROMPT)))
        self.assertEqual(session.generate("", n_tokens=4, temperature=0).ids, self.model.generate(PROMPT, n_tokens=4, temperature=0).ids)



if __name__ == "__main__":
    unittest.main()
