"""Several threads: Python goes on while the model computes, calls take turns, and nobody waits for ever."""
import concurrent.futures
import threading
import time
import unittest

import hunch
from fixtures import DEMO, PROMPT, ModelTest


class Threads(ModelTest):
    def test_python_goes_on_meanwhile(self):
        n, stop = [0], threading.Event()

        def count():
            while not stop.is_set():
                n[0] += 1
                time.sleep(0.001)
        other = threading.Thread(target=count)
        other.start()
        before = n[0]
        start = time.monotonic()
        while time.monotonic() - start < 0.3:
            self.model.logits([5] * 250)
        counted = n[0] - before
        stop.set()
        other.join()
        self.assertGreater(counted, 15)  # of about 250

    def test_calls_of_several_threads_take_turns(self):
        expected = {prompt: self.model.generate(prompt, n_tokens=6, temperature=0).ids for prompt in (PROMPT, "The cat", "A king")}
        sessions = {prompt: hunch.Session(self.model) for prompt in expected}

        def work(i):
            prompt = list(expected)[i % 3]
            if i % 4 == 0:
                stream = self.model.stream(prompt, n_tokens=6, temperature=0)
                for _ in stream:
                    pass
                return stream.result.ids == expected[prompt]
            if i % 4 == 1:
                return len(self.model.logits(prompt)) == len(self.model.tokenize(prompt))
            if i % 4 == 2:
                pieces = []
                return self.model.generate(prompt, pieces.append, n_tokens=6, temperature=0).ids == expected[prompt]
            return sessions[prompt].generate(prompt, n_tokens=2).n_prompt > 0
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            self.assertTrue(all(pool.map(work, range(48))))

    def test_a_stream_is_asked_by_one_thread_at_a_time(self):
        stream = self.model.stream(PROMPT, n_tokens=100, ignore_end=True, temperature=0)

        def take(_):
            pieces = []
            while True:
                try:
                    pieces.append(next(stream))
                except ValueError:  # as of generators
                    pieces.append("")
                except StopIteration:
                    return len("".join(pieces))
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            n_letters = sum(pool.map(take, range(4)))
        self.assertEqual(n_letters, len(stream.result.text))

    def test_callbacks_run_in_the_thread_that_called(self):
        here, seen = threading.get_ident(), []
        self.model.generate(PROMPT, lambda piece: seen.append(threading.get_ident()), n_tokens=3)
        self.assertEqual(set(seen), {here})
        there = []

        def work():
            there.append(threading.get_ident())
            self.model.generate(PROMPT, lambda piece: there.append(threading.get_ident()), n_tokens=3)
        other = threading.Thread(target=work)
        other.start()
        other.join()
        self.assertEqual(len(set(there)), 1)
        self.assertGreater(len(there), 1)

    def test_models_that_share_threads_take_turns_and_others_do_not(self):
        shared = hunch.Model(DEMO, threads_of=self.model, n_ctx=64)
        own = hunch.Model(DEMO, n_threads=1, n_ctx=64)
        with self.assertRaisesRegex(RuntimeError, "callback"):
            self.model.generate(PROMPT, lambda piece: shared.tokenize(piece), n_tokens=3)
        self.assertFalse(self.model.generate(PROMPT, lambda piece: not own.tokenize(piece), n_tokens=3).ids == [])

    def test_models_that_draft_for_each_other_do_not_lock_up(self):
        a, b = hunch.Model(DEMO, n_threads=1, n_ctx=64), hunch.Model(DEMO, n_threads=1, n_ctx=64)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            answers = [pool.submit(x.generate, PROMPT, n_tokens=3, draft_model=y, temperature=0) for x, y in [(a, b), (b, a)] * 8]
            self.assertEqual(len({tuple(answer.result(timeout=300).ids) for answer in answers}), 1)

    def test_a_model_closes_when_the_call_is_done(self):
        model = hunch.Model(DEMO, n_threads=1, n_ctx=128)
        began = threading.Event()
        answers = []
        other = threading.Thread(target=lambda: answers.append(model.generate(PROMPT, lambda piece: began.set(), n_tokens=60, ignore_end=True)))
        other.start()
        began.wait(60)
        model.close()
        other.join()
        self.assertEqual(len(answers[0].ids), 60)


if __name__ == "__main__":
    unittest.main()
