"""Writes modules as users of PyTorch do: write_torchscript.py FOLDER."""

import sys

import torch

folder = sys.argv[1]


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3, bias=False), torch.nn.BatchNorm2d(4), torch.nn.ReLU()
        )
        self.dropout = torch.nn.Dropout(0.5)
        self.frozen = torch.nn.Parameter(torch.ones(4), requires_grad=False)

    def forward(self, x):
        x = self.layers(x).mean([2, 3])
        return self.dropout(x) * self.frozen


torch.manual_seed(0)
net = Net()
x = torch.linspace(-1, 1, 2 * 3 * 5 * 5).view(2, 3, 5, 5)
torch.jit.script(net).save(f"{folder}/scripted.pt")
net.eval()
torch.jit.trace(net, x).save(f"{folder}/traced.pt")
torch.jit.freeze(torch.jit.script(net)).save(f"{folder}/frozen.pt")
torch.save(net.state_dict(), f"{folder}/state_dict.pt")
with torch.no_grad():
    output = net(x)


class Value(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.value = torch.nn.Parameter(output)

    def forward(self):
        return self.value


torch.jit.script(Value()).save(f"{folder}/output.pt")
