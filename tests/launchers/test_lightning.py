"""Lightning's strategy "ddp": the script starts the other processes, which run it once more."""

import pytest

from tests.launchers.training import ROWS, check_doctor, check_run, environment
from tests.road.site import Site

TRAIN = f"""
    import sys
    import lightning, torch
    from torch.utils.data import DataLoader, TensorDataset
    import disttrack
    from disttrack.cli.doctor import doctor

    class Model(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(8, 1)

        def on_train_start(self):
            if when == "inside":
                disttrack.init(project="demo")

        def training_step(self, batch, index):
            disttrack.log({{"loss": index + self.global_rank / 8}}, step=index)
            return self.layer(batch[0]).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

        def on_train_end(self):
            doctor.main([], standalone_mode=False)
            if when == "inside":
                end()

    def end():
        receipt = disttrack.finish()
        assert receipt.stored == receipt.logged == {ROWS}, receipt

    if __name__ == "__main__":
        when = sys.argv[1]
        if when == "before":
            disttrack.init(project="demo")
        quiet = {{"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}}
        trainer = lightning.Trainer(
            accelerator="cpu", strategy="ddp", devices=2, max_epochs=1, enable_model_summary=False, **quiet
        )
        trainer.fit(Model(), DataLoader(TensorDataset(torch.zeros(2 * {ROWS}, 8)), batch_size=1))
        if when == "before":
            end()
"""


@pytest.mark.real(timeout_s=180)
@pytest.mark.parametrize("when", ["before", pytest.param("inside", marks=pytest.mark.long)])
def test_the_two_processes_of_lightnings_ddp_become_one_run_wherever_init_stands(site: Site, when: str) -> None:
    output = site.python(site.script(TRAIN), when, env=environment())
    check_run(site, 2, local=False)
    check_doctor(output, 2, "torch.distributed")
