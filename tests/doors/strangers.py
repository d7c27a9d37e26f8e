"""One of each kind of plugin, as in a user's own module."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from paragonsr.archs.network_options import NetworkOptions
from paragonsr.automation.options import AutomationOptions
from paragonsr.automation.protocol import Decision, Observation, Steps
from paragonsr.degradation.base import Degradation, DeviceDegradation, Image
from paragonsr.degradation.options import DegradationOptions
from paragonsr.loggers.base import ScalarLogger
from paragonsr.loggers.options import LoggedRun, SinkOptions
from paragonsr.losses.base import LearnedLoss, Loss
from paragonsr.losses.options import LossOptions
from paragonsr.metrics.base import Metric
from paragonsr.metrics.options import MetricOptions
from paragonsr.optim.options import OptimiserOptions, SchedulerOptions


class FourthPowerLossOptions(LossOptions):
    """Mean fourth power of the error."""

    type: Literal["fourthpowerloss"] = "fourthpowerloss"
    target = "strangers:FourthPowerLoss"


class FourthPowerLoss(Loss):
    def __init__(self, options: FourthPowerLossOptions) -> None:
        super().__init__()

    def measure(self, sr: Tensor, hr: Tensor) -> Tensor:
        return (sr - hr).pow(4).mean()


class CriticLossOptions(LossOptions):
    """A small discriminator that learns along with the network (least squares, Mao et al. 1611.04076)."""

    type: Literal["criticloss"] = "criticloss"
    target = "strangers:CriticLoss"
    lr: float = 1e-3


class CriticLoss(LearnedLoss):
    measured = ("real", "fake")

    def __init__(self, options: CriticLossOptions) -> None:
        super().__init__()
        self._lq = options.lr
        self.critic = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 3, 1, 1))

    @property
    def network(self) -> nn.Module:
        return self.critic

    def build_optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.critic.parameters(), lr=self._lq)

    def measure(self, sr: Tensor, hr: Tensor) -> Tensor:
        return (self.critic(sr) - 1).square().mean()

    def own_loss(self, sr: Tensor, hr: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        real, fake = self.critic(hr), self.critic(sr)
        loss = (real - 1).square().mean() + fake.square().mean()
        return loss, {"real": real.mean(), "fake": fake.mean()}


class PlainOptions(NetworkOptions):
    """Three convolutions and a pixel shuffle."""

    type: Literal["plain"] = "plain"
    target = "strangers:Plain"
    family = "strangers"
    purpose = "a test"
    width: int = 8


class Plain(nn.Module):
    receptive_field = 5

    def __init__(self, options: PlainOptions, scale: int) -> None:
        super().__init__()
        w = options.width
        self.stem, self.mid = nn.Conv2d(3, w, 3, padding=1), nn.Conv2d(w, w, 3, padding=1)
        self.last, self.shuffle = nn.Conv2d(w, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale)

    def forward(self, x: Tensor) -> Tensor:
        return self.shuffle(self.last(torch.relu(self.mid(torch.relu(self.stem(x))))))


class LargestErrorOptions(MetricOptions):
    """Largest difference of a sample."""

    type: Literal["largest_error"] = "largest_error"
    target = "strangers:LargestError"


class LargestError(Metric):
    better = "lower"
    protocol = "largest error/uint8"

    def __init__(self, options: LargestErrorOptions, scale: int) -> None:
        pass

    def measure(self, sr: np.ndarray, hr: np.ndarray) -> float:
        return float(np.abs(sr.astype(int) - hr).max())


class NoisyOptions(DegradationOptions):
    """Every s-th pixel, with noise."""

    type: Literal["noisy"] = "noisy"
    target = "strangers:Noisy"
    sigma: float = 4.0


class Noisy(Degradation):
    def __init__(self, options: NoisyOptions, scale: int, seed: int) -> None:
        self.sigma, self.scale, self.seed = options.sigma, scale, seed

    def degrade(self, hr: Image, sample: int) -> Image:
        small = hr[:: self.scale, :: self.scale].astype(float)
        noise = np.random.default_rng([self.seed, sample]).normal(0, self.sigma, small.shape)
        return np.clip(small + noise, 0, 255).astype(np.uint8)


class BlurryOptions(DegradationOptions):
    """The mean over blocks, darkened by the sample's number, on the device."""

    type: Literal["blurry"] = "blurry"
    target = "strangers:Blurry"


class Blurry(DeviceDegradation):
    def __init__(self, options: BlurryOptions, scale: int, seed: int) -> None:
        self.scale = scale

    def degrade(self, hr: Tensor, samples: Sequence[int]) -> Tensor:
        gain = 1 - torch.tensor(samples, device=hr.device).remainder(10).float() / 100
        return nn.functional.avg_pool2d(hr, self.scale) * gain[:, None, None, None]


class SignOptions(OptimiserOptions):
    """Sign of the moving average of the gradient (Chen et al. 2302.06675 without its weight decay)."""

    type: Literal["Sign"] = "Sign"
    target = "strangers:build_sign"
    beta: float = 0.9


class Sign(torch.optim.Optimizer):
    def __init__(self, parameters: Any, lr: float, beta: float) -> None:
        super().__init__(parameters, {"lr": lr, "beta": beta})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    average = self.state[p].setdefault("average", torch.zeros_like(p))
                    average.lerp_(p.grad, 1 - group["beta"])
                    p.add_(average.sign(), alpha=-group["lr"])


def build_sign(options: SignOptions, parameters: Any) -> Sign:
    return Sign(parameters, options.first_lr, options.beta)


class SawOptions(SchedulerOptions):
    """From the full rate down to half of it, repeatedly."""

    type: Literal["Saw"] = "Saw"
    target = "strangers:build_saw"
    period: int = 5


def build_saw(options: SawOptions, *, total: int, lr: float) -> Any:
    return lambda position: 1 - 0.5 * (position % options.period) / options.period


class NudgeOptions(AutomationOptions):
    """Lowers the rate by a tenth after each window."""

    section: ClassVar[str] = "nudge"
    target = "strangers:Nudge"
    factor: float = 0.9


class Nudge:
    name = "nudge"
    watches = "nothing"
    may_change = "lr_factor/nudge"

    def __init__(self, options: NudgeOptions, context: Any) -> None:
        self.factor, self.current = options.factor, 1.0

    def observe(self, observation: Observation) -> Sequence[Decision]:
        if not isinstance(observation, Steps):
            return ()
        self.current *= self.factor
        return (Decision(self.name, "lr_factor/nudge", self.current, "one more window"),)

    def state_dict(self) -> dict[str, Any]:
        return {"current": self.current}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.current = state["current"]


class TextFileOptions(SinkOptions):
    """Lines of text in the run's folder."""

    type: Literal["textfile"] = "textfile"
    target = "strangers:TextFile"


class TextFile(ScalarLogger):
    def __init__(self, options: TextFileOptions, run: LoggedRun) -> None:
        self.file = (Path(run.folder) / "log.txt").open("a")

    def scalars(self, values: dict[str, float], iteration: int) -> None:
        self.file.writelines(f"{iteration} {tag}\n" for tag in values)

    def picture(self, name: str, image: np.ndarray, iteration: int) -> None:
        self.file.write(f"{iteration} picture {name} {image.shape}\n")

    def flush(self) -> None:
        self.file.flush()

    def close(self) -> None:
        self.file.close()
