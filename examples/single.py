"""One process, no launcher: fits a line by gradient descent, in plain Python.

    python examples/single.py

It prints a receipt: how many records were logged, and that all of them are stored. `disttrack ls` then shows the run,
and `disttrack export ID --format csv` its loss, step by step. Runs lie in ./disttrack-runs (DISTTRACK_DIR: elsewhere).
"""

import disttrack

POINTS = [(x / 10, 3 * x / 10 + 1) for x in range(-10, 11)]  # y = 3 x + 1

with disttrack.init(project="examples", config={"lr": 0.1, "steps": 200}) as run:
    slope = intercept = 0.0
    for step in range(run.config["steps"]):
        errors = [slope * x + intercept - y for x, y in POINTS]
        slope -= run.config["lr"] * sum(error * x for error, (x, _) in zip(errors, POINTS, strict=True)) / len(POINTS)
        intercept -= run.config["lr"] * sum(errors) / len(POINTS)
        run.log({"loss": sum(error**2 for error in errors) / len(POINTS), "slope": slope}, step=step)
    run.summary["intercept"] = intercept
    print(run.finish())
