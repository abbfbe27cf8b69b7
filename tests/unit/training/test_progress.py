"""How a run goes, in lines that a page holds."""

from sensorium.contracts.run import Evaluation, Outcome, Run, Step
from sensorium.training import progress

RUN = Run("run", "/runs/run", {}, 0, 0, 1)


def test_metrics_are_told_in_lines_of_a_page_each_once(capsys):
    metrics = {f"answer_accuracy_{number}": number / 7 for number in range(12)}
    progress.sensorium_evaluated(RUN, Evaluation(40, "test", {**metrics, "contribution.image.accuracy": 0.1}))
    lines = capsys.readouterr().err.splitlines()
    assert max(map(len, lines)) <= 80
    told = " ".join(" ".join(lines).split())
    assert told == "test at step 40: " + " ".join(f"{name} {value:.4g}" for name, value in metrics.items())


def test_few_metrics_are_a_line(capsys):
    progress.sensorium_evaluated(RUN, Evaluation(40, "test", {"accuracy": 0.5, "r1": 0.25}))
    assert capsys.readouterr().err == "test at step 40:  accuracy 0.5  r1 0.25\n"


def test_other_workers_say_nothing(capsys):
    other = Run("run", "/runs/run", {}, 0, 1, 2)
    progress.sensorium_run_started(other)
    progress.sensorium_step_finished(other, Step(1, "fit", 0, {"loss": 1.0}, {}, (), 8))
    progress.sensorium_evaluated(other, Evaluation(1, "test", {"accuracy": 1.0}))
    progress.sensorium_run_finished(other, Outcome("finished"))
    assert capsys.readouterr().err == ""
