"""Runs TorchScript files as a user of PyTorch does: run_torchscript.py FOLDER...

Each FOLDER holds model.pt and the input of each modality as in_<modality>.pt, a module whose
attribute is `value`; the output for every combination of modalities, their names sorted, goes to
out_<modality>_<modality>.pt.
"""

import itertools
import pathlib
import sys

import torch


class Value(torch.nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = torch.nn.Parameter(value, requires_grad=False)

    def forward(self):
        return self.value


def run(folder):
    model = torch.jit.load(folder / "model.pt")
    inputs = {path.stem[3:]: torch.jit.load(path).value for path in sorted(folder.glob("in_*.pt"))}
    for count in range(1, len(inputs) + 1):
        for present in itertools.combinations(inputs, count):
            with torch.no_grad():
                output = model(**{name: inputs[name] for name in present})
            torch.jit.script(Value(output)).save(folder / f"out_{'_'.join(present)}.pt")


torch.manual_seed(0)
for argument in sys.argv[1:]:
    run(pathlib.Path(argument))
