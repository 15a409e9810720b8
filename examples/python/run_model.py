"""Runs a model that `unbraid export RUN -o model.pt` wrote, in PyTorch alone.

run_model.py MODEL.pt MODALITY=INPUTS.npy... prints the outputs, a line a sample, with commas between.
INPUTS.npy holds the samples of a modality as Unbraid's encoder takes them, [B, ...]; modalities that
are not named are absent.
"""

import sys

import numpy
import torch


def main():
    model = torch.jit.load(sys.argv[1])
    inputs = {}
    for argument in sys.argv[2:]:
        modality, path = argument.split("=", 1)
        inputs[modality] = torch.from_numpy(numpy.load(path))
    with torch.no_grad():
        outputs = model(**inputs)
    for row in outputs:
        print(",".join(f"{value:.6f}" for value in row.tolist()))


main()
