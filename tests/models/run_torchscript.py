"""Runs a TorchScript file as a user of PyTorch does: run_torchscript.py FILE FOLDER MODALITIES.

FOLDER holds the input of each modality as <modality>.pt, a module whose attribute is `value`; the
output for every combination of modalities goes to out_<modality>_<modality>.pt.
"""

import itertools
import sys

import torch


class Value(torch.nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = torch.nn.Parameter(value, requires_grad=False)

    def forward(self):
        return self.value


file, folder, *modalities = sys.argv[1:]
torch.manual_seed(0)
model = torch.jit.load(file)
inputs = {name: torch.jit.load(f"{folder}/{name}.pt").value for name in modalities}
for count in range(1, len(modalities) + 1):
    for present in itertools.combinations(modalities, count):
        with torch.no_grad():
            output = model(**{name: inputs[name] for name in present})
        torch.jit.script(Value(output)).save(f"{folder}/out_{'_'.join(present)}.pt")
