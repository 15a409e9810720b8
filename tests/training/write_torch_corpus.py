"""write_torch_corpus.py FOLDER: what PyTorch itself (here 1.13) writes, for torch_file_test.cpp and
the fuzzer: tests/fuzz/corpus/pth."""

import collections
import os
import sys

import torch

folder = sys.argv[1]
base = torch.arange(12.0).reshape(3, 4)
state = collections.OrderedDict(
    {
        "conv1.weight": torch.arange(24.0).reshape(2, 3, 2, 2),
        "half": torch.tensor([1.5, -2], dtype=torch.float16),
        "brain": torch.tensor([1.5, -2], dtype=torch.bfloat16),
        "double": torch.tensor([1.5, -2], dtype=torch.float64),
        "count": torch.tensor(7),
        "truth": torch.tensor([True, False]),
        "transposed": base.t(),
        "view": base[1:, 1:3],
        "expanded": torch.tensor([4.0]).expand(3),
        "parameter": torch.nn.Parameter(torch.tensor([5.0, 6.0])),
        "empty": torch.zeros(0, 3),
    }
)
norm = torch.nn.BatchNorm1d(2)
optimizer = torch.optim.Adam(norm.parameters())
norm(torch.randn(4, 2)).sum().backward()
optimizer.step()
checkpoint = {
    "epoch": 3,
    "state_dict": torch.nn.DataParallel(norm).state_dict(),
    "optimizer": optimizer.state_dict(),
}
torch.save(norm, os.path.join(folder, "module.pth"))
for name, value in {"state": state, "checkpoint": checkpoint}.items():
    torch.save(value, os.path.join(folder, name + ".pth"))
    torch.save(
        value, os.path.join(folder, name + "_legacy.pth"), _use_new_zipfile_serialization=False
    )
