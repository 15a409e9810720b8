"""Puts the weights of one encoder into a PyTorch module of your own.

`unbraid export RUN -o encoder.safetensors --encoder NAME` writes them under the names they have inside
the encoder; those of a ResNet are torchvision's, so that
`torchvision.models.resnet18().load_state_dict(read_safetensors(path), strict=False)` takes them (all
but `fc`).

encoder_weights.py ENCODER.safetensors INPUTS.npy does it for an encoder of the type "mlp" and prints
the features of the inputs, a line a sample.
"""

import json
import sys

import numpy
import torch

TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1"}


def read_safetensors(path):
    """The tensors of a file by name. The package safetensors has the same as load_file."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.read()
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            values = numpy.frombuffer(data[begin:end], TYPES[entry["dtype"]])
            tensors[name] = torch.from_numpy(values.reshape(entry["shape"]).copy())
    return tensors


class Mlp(torch.nn.Module):
    def __init__(self, layers):
        super().__init__()
        for i in range(1, len(layers)):
            self.add_module(f"fc{i}", torch.nn.Linear(layers[i - 1], layers[i]))

    def forward(self, x):
        x = x.flatten(1)
        for i, layer in enumerate(self.children()):
            x = layer(x if i == 0 else torch.relu(x))
        return x


def main():
    weights = read_safetensors(sys.argv[1])
    sizes = [weights[f"fc{i}.weight"].shape for i in range(1, len(weights) // 2 + 1)]
    encoder = Mlp([sizes[0][1]] + [size[0] for size in sizes])
    encoder.load_state_dict(weights)
    with torch.no_grad():
        features = encoder(torch.from_numpy(numpy.load(sys.argv[2])))
    for row in features:
        print(",".join(f"{value:.6f}" for value in row.tolist()))


main()
