"""Batches: who is computed together, and that it changes nothing."""

import asyncio
import threading
import time

import echo
import pytest
import torch

from sensorium.errors import SensoriumError, UserError
from sensorium.inference.exact import TRIALS, Exact, shape
from sensorium.inference.predictor import Predictor
from sensorium.serving.batching import Batcher
from sensorium.serving.memory import HEAVY
from sensorium.serving.refusal import Refusal
from sensorium.serving.served import choose, load, measure
from sensorium.serving.settings import Limits


def question(shade, **more):
    return {"picture": echo.png(shade=shade), **more}


@pytest.fixture
def exact():
    made = Exact(echo.predictor())
    made.sizes = made.predictor.model.task.sizes
    return made


def prepared(exact, shades):
    return [exact.predictor.prepare(question(shade)) for shade in shades]


def test_a_size_is_tried_before_it_is_trusted(exact):
    four = prepared(exact, (10, 20, 30, 40))
    for _ in range(TRIALS):
        said, sizes = exact(four, 8)
        assert sizes == [1] * 4
    assert exact.sizes == [1, 1, 1, 1, 4] * TRIALS
    exact.sizes.clear()
    again, sizes = exact(four, 8)
    assert (sizes, exact.sizes) == ([4] * 4, [4])
    assert again == said
    assert [each["picture"] for each in said] == [echo.png(shade=shade) for shade in (10, 20, 30, 40)]


def test_a_size_that_changes_digits_is_not_used(exact, monkeypatch):
    task = exact.predictor.model.task
    whole = type(task).predict

    def other_digits(batch):
        outputs = whole(task, batch)
        return {"numbers": outputs["numbers"] + (1e-7 if len(batch) > 2 else 0)}

    monkeypatch.setattr(task, "predict", other_digits)
    eight = [exact.predictor.prepare(question(n, numbers=[n, 1.0])) for n in range(1, 9)]
    alone = [exact.predictor.answer([each])[0] for each in eight]
    for _ in range(6):
        said, sizes = exact(eight, 8)
        assert said == alone
    assert sizes == [2] * 8


def test_batches_are_powers_of_two(exact):
    seven = prepared(exact, range(7))
    for _ in range(TRIALS):
        exact(seven, 8)
    exact.sizes.clear()
    said, sizes = exact(seven, 8)
    assert exact.sizes == [4, 2, 1]
    assert sizes == [4, 4, 4, 4, 2, 2, 1]
    assert [each["picture"] for each in said] == [echo.png(shade=shade) for shade in range(7)]


def test_shapes_tell_apart_what_must_not_be_padded(exact):
    prepare = exact.predictor.prepare
    short, long = (prepare(question(1, words=words)) for words in ("one", "one two"))
    assert shape(short) != shape(long)
    assert shape(short) == shape(prepare(question(2, words="three")))
    assert shape(short) != shape(prepare(question(1)))


def test_requests_of_one_shape_are_put_together(exact):
    for shades in (range(4), range(8)):  # every size that may come is trusted
        for asked in ({}, {"words": "one two"}):
            some = [exact.predictor.prepare(question(shade, **asked)) for shade in shades]
            for size in (2, 4, 8):
                for _ in range(TRIALS):
                    exact(some, size)
    exact.sizes.clear()

    async def run():
        batcher = Batcher(exact, 8, 0.5)
        asked = [batcher.ask(question(shade)) for shade in range(8)]
        asked += [batcher.ask(question(shade, words="one two")) for shade in range(4)]
        return await asyncio.gather(*asked)

    said = asyncio.run(run())
    assert [answer["picture"] for answer, _ in said] == [echo.png(shade=n) for n in (*range(8), *range(4))]
    assert all("words" not in answer for answer, _ in said[:8])
    assert all(answer["words"] == "one two" for answer, _ in said[8:])
    assert max(size for _, size in said) > 1
    assert sum(exact.sizes) == 12
    assert len(exact.sizes) < 12


def test_a_lone_request_does_not_wait(exact):
    async def run():
        batcher = Batcher(exact, 8, 5.0)
        async with asyncio.timeout(2):
            return await batcher.ask(question(1))

    assert asyncio.run(run())[1] == 1


def test_a_bad_request_among_good_ones_fails_alone(exact, monkeypatch):
    task = exact.predictor.model.task
    whole = type(task).predict

    def picky(batch):
        if any(sample["numbers"][0] == 3 for sample in batch.samples):
            raise UserError("3 makes no sense.")
        return whole(task, batch)

    monkeypatch.setattr(task, "predict", picky)

    async def run():
        batcher = Batcher(exact, 4, 0.2)
        asked = [batcher.ask(question(1, numbers=[n, 0])) for n in range(6)]
        asked += [batcher.ask({"picture": b"junk", "numbers": [0, 0]})]
        return await asyncio.gather(*asked, return_exceptions=True)

    for _ in range(4):
        said = asyncio.run(run())
        assert next(str(each) for each in said if isinstance(each, UserError)) == "3 makes no sense."
        assert sum(isinstance(each, UserError) for each in said) == 2
        assert [each[0]["numbers"][0] for each in said if not isinstance(each, UserError)] == [0, 1, 2, 4, 5]


def test_a_new_version_answers_what_comes_after(exact):
    async def run():
        batcher = Batcher(exact, 4, 0.0)
        before = asyncio.create_task(batcher.ask(question(1, words="two")))
        await asyncio.sleep(0)
        other = Exact(echo.predictor())
        other.predictor.model.task.inputs["words"].fit(["zero two"])  # other ids for the same words
        batcher.use(other, 1, 0.0)
        return await before, await batcher.ask(question(1, words="zero"))

    before, after = asyncio.run(run())
    assert (before[0]["words"], after[0]["words"]) == ("two", "zero")


def test_who_has_gone_away_costs_nothing(exact):
    async def run():
        batcher = Batcher(exact, 4, 0.0)
        tasks = [asyncio.create_task(batcher.ask(question(n))) for n in range(4)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        return done, await batcher.ask(question(9))

    done, after = asyncio.run(run())
    assert isinstance(done[0], asyncio.CancelledError)
    assert [each[0]["picture"] for each in (*done[1:], after)] == [echo.png(shade=n) for n in (1, 2, 3, 9)]


@pytest.mark.parametrize(("lanes", "met"), [(1, 1), (2, 2)])
def test_batches_are_computed_side_by_side_in_so_many_lanes(exact, lanes, met):
    together, most, lock = [0], [0], threading.Lock()

    def slow(prepared, largest):
        with lock:
            together[0] += 1
            most[0] = max(most[0], together[0])
        time.sleep(0.1)
        with lock:
            together[0] -= 1
        return exact(prepared, largest)

    slow.predictor = exact.predictor

    async def run():
        batcher = Batcher(slow, 1, 0.0, lanes)
        first = await asyncio.gather(*(batcher.ask(question(n)) for n in range(6)))
        return [*first, *[await batcher.ask(question(n)) for n in range(2)]]

    said = asyncio.run(run())
    assert most[0] == met
    assert [each[0]["picture"] for each in said] == [echo.png(shade=n) for n in (0, 1, 2, 3, 4, 5, 0, 1)]


def test_one_after_another_is_decoded_and_computed_by_the_thread_that_was_used_last(exact, monkeypatch):
    seen = []

    class Watched:
        predictor = exact.predictor

        def __call__(self, prepared, largest):
            seen.append(threading.current_thread())
            time.sleep(0.05)
            return exact(prepared, largest)

    prepare = type(exact.predictor).prepare

    def watched(self, example):
        seen.append(threading.current_thread())
        return prepare(self, example)

    monkeypatch.setattr(type(exact.predictor), "prepare", watched)

    async def run():
        batcher = Batcher(Watched(), 1, 0.0, 2)
        await asyncio.gather(*(batcher.ask(question(n)) for n in range(4)))  # both lanes have their threads
        assert len({thread for thread in seen if thread.name.startswith("compute")}) == 2
        seen.clear()
        for n in range(4):
            await batcher.ask(question(n))

    asyncio.run(run())
    assert len(seen) == 8
    assert len(set(seen)) == 1


def test_the_size_follows_the_curve():
    curve = choose({1: 0.010, 2: 0.012, 4: 0.016, 8: 0.030, 16: 0.060})
    assert curve.size == 4  # 250 a second; 8 and 16 have 267, and 2 has 167
    assert choose({1: 0.010, 2: 0.012, 4: 0.018, 8: 0.024}).size == 8
    flat = choose({1: 0.010, 2: 0.020, 4: 0.040})
    assert (flat.size, flat.wait) == (1, 0.0)
    assert choose({1: 0.010, 4: 0.016}).wait == pytest.approx((0.010 - 0.004) / 2)


def test_a_trained_model_is_measured_and_its_batches_have_the_digits_of_predict(trained):
    ready = load(trained.result["model"], "v", Limits(), 8)
    assert set(ready.curve.seconds) <= {1, 2, 4, 8}
    assert 1 in ready.curve.seconds
    assert "ms for a batch of 1: " in str(ready.curve)
    predictor = Predictor.load(trained.result["model"])
    images = [predictor.model.task.inputs["image"].example(torch.Generator().manual_seed(n)) for n in range(16)]
    examples = [{"image": image} for image in images]
    texts = [{"text": f"a photo of the number {name}"} for name in ("one", "two", "three", "four")]
    for asked in (examples, texts):
        alone = [predictor([example])[0] for example in asked]
        some = [ready.exact.predictor.prepare(example) for example in asked]
        for _ in range(TRIALS + 1):
            said, _ = ready.exact(some, 8)
            assert said == alone


def test_a_trained_model_is_computed_in_batches_without_changing_a_digit(trained):
    ready = load(trained.result["model"], "v", Limits(), 16)
    image = ready.exact.predictor.model.task.inputs["image"]
    random = torch.Generator().manual_seed(0)
    for asked in (
        [{"image": image.example(random)} for _ in range(16)],
        [{"image": image.example(random), "text": "a photo of the number two"} for _ in range(16)],
        [{"text": f"the digit {name} written by hand", "image": image.example(random)} for name in ("one", "two") * 8],
    ):
        some = [ready.exact.predictor.prepare(example) for example in asked]
        for _ in range(TRIALS + 1):
            said, sizes = ready.exact(some, 16)
        assert sizes == [16] * 16
        assert said == [ready.exact.predictor([example])[0] for example in asked]


def test_limits_lower_those_of_the_modalities(trained):
    ready = load(trained.result["model"], "v", Limits(max_pixels=100), 1)
    with pytest.raises(UserError, match="At most 100 were expected"):
        ready.exact.predictor.prepare({"image": echo.png(11)})
    ready.exact.predictor.prepare({"image": echo.png(10)})


def test_a_model_that_does_not_answer_is_not_made_ready(trained, monkeypatch):
    from sensorium_clip.task import Clip

    def fail(self, batch):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(Clip, "predict", fail)
    with pytest.raises(SensoriumError, match="does not answer: RuntimeError: shapes do not fit"):
        load(trained.result["model"], "v", Limits(), 1)


def test_measuring_tries_until_it_costs_too_much(exact, monkeypatch):
    assert set(measure(exact, 4).seconds) == {1, 2, 4}
    monkeypatch.setattr("sensorium.serving.served.BUDGET", 0.0)
    assert set(measure(Exact(echo.predictor()), 4).seconds) == {1}


class Heavy:
    """Makes pictures with a shade above 200 heavy to decode: each says that it began, and waits until it may go on."""

    def __init__(self, exact, monkeypatch, cost):
        self.began, self.may = [], threading.Event()
        prepare, lock = exact.predictor.prepare, threading.Lock()
        heavy = {echo.png(shade=shade): shade for shade in range(201, 256)}

        def decode(example):
            if example["picture"] in heavy:
                with lock:
                    self.began.append(heavy[example["picture"]])
                assert self.may.wait(30)
            return prepare(example)

        monkeypatch.setattr(exact.predictor, "prepare", decode)
        monkeypatch.setattr(exact.predictor, "cost", lambda example: cost if example["picture"] in heavy else 1)


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def test_heavy_requests_keep_no_small_one_waiting(exact, monkeypatch):
    heavy = Heavy(exact, monkeypatch, HEAVY)

    async def run():
        batcher = Batcher(exact, 4, 0.0)
        large = [asyncio.create_task(batcher.ask(question(shade))) for shade in range(201, 221)]
        await until(lambda: len(heavy.began) == 2)
        for shades in ((1,), range(8)):  # alone, and many at once
            async with asyncio.timeout(20):
                small = await asyncio.gather(*(batcher.ask(question(shade)) for shade in shades))
            assert [each[0]["picture"] for each in small] == [echo.png(shade=shade) for shade in shades]
        assert len(heavy.began) == 2, "no heavy one was done"
        heavy.may.set()
        return await asyncio.gather(*large)

    said = asyncio.run(run())
    assert [each[0]["picture"] for each in said] == [echo.png(shade=shade) for shade in range(201, 221)]


def test_values_wait_for_memory_and_give_it_back(exact, monkeypatch):
    heavy = Heavy(exact, monkeypatch, 3 * HEAVY)  # more than half of the budget: one after the other

    async def run():
        batcher = Batcher(exact, 4, 0.0, memory=4 * HEAVY)
        large = [asyncio.create_task(batcher.ask(question(shade))) for shade in (201, 202, 203)]
        await until(lambda: heavy.began)
        assert batcher.memory.held == 3 * HEAVY
        assert (await batcher.ask(question(1)))[0]["picture"] == echo.png(shade=1), "the small one finds room"
        assert len(heavy.began) == 1
        large[1].cancel()
        heavy.may.set()
        await asyncio.gather(large[0], large[2])
        return batcher.memory.held

    assert asyncio.run(run()) == 0
    assert len(heavy.began) == 2


def test_a_request_larger_than_the_memory_is_answered_when_it_is_alone(exact, monkeypatch):
    heavy = Heavy(exact, monkeypatch, 100 * HEAVY)
    heavy.may.set()
    said, _ = asyncio.run(Batcher(exact, 4, 0.0, memory=HEAVY).ask(question(201)))
    assert said["picture"] == echo.png(shade=201)


def test_who_finds_no_memory_is_told_when_to_come_again(exact, monkeypatch):
    heavy = Heavy(exact, monkeypatch, HEAVY)
    monkeypatch.setattr("sensorium.serving.memory.PATIENCE", 1.0)

    async def run():
        batcher = Batcher(exact, 4, 0.0, memory=HEAVY)
        first = asyncio.create_task(batcher.ask(question(201)))
        await until(lambda: heavy.began)
        with pytest.raises(Refusal, match="fill the memory") as caught:
            await batcher.ask(question(202))
        heavy.may.set()
        await first
        return caught.value

    refusal = asyncio.run(run())
    assert (refusal.status, refusal.headers) == (503, {"Retry-After": "1"})


def test_an_example_that_cannot_be_read_gives_its_memory_back(exact, monkeypatch):
    async def run():
        batcher = Batcher(exact, 4, 0.0)
        for cost in (1, HEAVY):
            monkeypatch.setattr(exact.predictor, "cost", lambda _, cost=cost: cost)
            with pytest.raises(UserError):
                await batcher.ask({"picture": b"junk"})
        return batcher.memory.held

    assert asyncio.run(run()) == 0


def test_the_cost_is_told_by_the_header():
    predictor = echo.predictor()
    assert predictor.cost({"picture": echo.png(side=100)}) == 3 * 100 * 100
    assert predictor.cost({"picture": echo.png(), "sound": echo.sound(seconds=0.5)}) == 3 * 64 + 8 * 4000
    assert predictor.cost({"picture": b"junk", "words": "one", "nothing": 1}) == 900
