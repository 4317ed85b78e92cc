"""A record with a curve, a failure among them: what a game gives, without running one."""

from trials.spec import MethodConfig, Point, Record, Scalar, Trial, Victim


def record(
    seed: int = 0, *, status: str = "done", steps: int = 20, asr: float = 0.01, **settings: Scalar
) -> Record:
    victim = Victim(
        dataset=MethodConfig("digits"),
        model=MethodConfig("resnet18", {"width": 8}),
        attacks=(MethodConfig("badnets", {"m": 50, "target": 0}, {"mark": "0123456789abcdef"}),),
        training=MethodConfig("sgd", {"lr": 0.1, "epochs": 2}),
        seed=7,
    )
    params = {"lr": 1e-05, "steps": 2000, "nesterov": True, **settings}
    method = MethodConfig("pivotal_tuning", params)
    trial = Trial(
        game=MethodConfig("robustness", {"delta": 0.02}),
        victim=victim,
        method=method,
        trusted=0.01,
        seed=seed,
    )
    if status == "failed":
        return Record(
            trial=trial, status="failed", error="Traceback ...\nValueError: no", seconds=0.5
        )
    curve = tuple(
        Point(50 * i, 0.93 - 0.002 * i, asr + (1 - asr) / (1 + i), 0.1 * i, {"loss": 1e22})
        for i in range(steps)
    )
    return Record(
        trial=trial,
        status=status,  # type: ignore[arg-type]
        metrics={"cda": 0.9, "asr": asr},
        curve=curve,
        seconds=2.5,
        provenance={"python": "3.11.7"},
    )
