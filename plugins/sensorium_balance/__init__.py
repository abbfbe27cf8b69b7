"""Balance: why a network that hears and sees learns from one of both, and three cures."""

from sensorium import Run, hookimpl


@hookimpl
def sensorium_datasets() -> dict[str, str]:
    """Two vectors, of which one may be larger or noisier."""
    return {"two_vectors": "sensorium_balance.two_vectors:TwoVectors"}


@hookimpl
def sensorium_tasks() -> dict[str, str]:
    """Recognition from several inputs, and two methods for any task that says what each input tells alone."""
    return {
        "fused": "sensorium_balance.fused:Fused",
        "ogm_ge": "sensorium_balance.ogm_ge:OGMGE",
        "gradient_blending": "sensorium_balance.blending:GradientBlending",
    }


@hookimpl
def sensorium_run_started(run: Run) -> None:
    """Refuses Gradient-Blending before its first step where nothing would be measured to blend by."""
    if run.experiment["task"] == "gradient_blending":
        from sensorium_balance.blending import check

        check(run.experiment)
