"""Runs a model that `unbraid export RUN -o model.pt` wrote, in PyTorch alone.

run_model.py MODEL.pt MODALITY=INPUTS.npy... prints the outputs, a line a sample, with commas between.
INPUTS.npy holds the samples of a modality as Unbraid's encoder takes them, [B, ...]; modalities that
are not named are absent. A modality whose name is a word of TorchScript, or begins with a digit, is
the argument modality_<name>.
"""

import sys

import numpy
import torch


def main():
    model = torch.jit.load(sys.argv[1])
    known = [argument.name for argument in model.forward.schema.arguments[1:]]
    inputs = {}
    for argument in sys.argv[2:]:
        modality, path = argument.split("=", 1)
        name = modality if modality in known else f"modality_{modality}"
        if name not in known:
            sys.exit(f"{modality}: expected one of {', '.join(known)}")
        inputs[name] = torch.from_numpy(numpy.load(path))
    with torch.no_grad():
        outputs = model(**inputs)
    for row in outputs:
        print(",".join(f"{value:.6f}" for value in row.tolist()))


main()
