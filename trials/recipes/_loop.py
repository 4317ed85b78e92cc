"""The epochs that the recipes share: boosted and frozen poison, an attacker's steps, precision,
divergence.
"""

import time
from collections.abc import Callable, Iterator
from itertools import islice

import torch
from torch import Generator, Tensor, nn

from trials.recipes._control import Intruder
from trials.recipes._countermeasure import Countermeasure
from trials.storage.checkpoint import Checkpointer
from trials.train import augment, autocast, to_float
from trials.types import Images, Poisoning

PROGRESS_SECONDS = 5.0  # between two reports within an epoch; the loss is fetched from the GPU


_PLAIN = Countermeasure()


def train(
    model: nn.Module,
    poisoning: Poisoning,
    rng: Generator,
    optimizer: torch.optim.Optimizer,
    rate: Callable[[float], float],
    checkpointer: Checkpointer | None,
    *,
    epochs: int,
    batch: int,
    precision: str,
    counter: Countermeasure = _PLAIN,
) -> Iterator[tuple[int, int, float]]:
    """Train ``model`` in place; yield (steps done, steps in all, mean loss of the epoch).

    It yields after each epoch, and within a long one every few seconds.

    A training that goes on from its checkpoint first yields what it had yielded, the model being
    further on by then. The data moves to the model's device once, or batch by batch if it would
    fill more than half of a GPU.

    Args:
        model: left in eval mode after the last epoch; may be measured in between.
        poisoning: each poisoned image occurs its attack's ``boost`` times an epoch, and is not
            augmented if that is ``frozen``. The attack with a ``control`` has the second, fourth,
            ... step.
        rng: on the CPU; shuffles and augments.
        optimizer: of the model's parameters.
        rate: learning rate after so many epochs (a fraction within one).
        checkpointer: keeps checkpoints and has the last; None for a training that is not resumed.
        epochs: passes over the data; a smaller last batch is dropped if there are others.
        batch: images a step.
        precision: auto, fp32 or bf16.
        counter: what is done against poison, in all steps but an attacker's.

    Raises:
        ArithmeticError: a loss is not finite.
    """
    device = next(model.parameters()).device
    low = precision == "bf16" or (precision == "auto" and _fast_in_bf16(device))
    layout = _layout(device, low)
    model.to(memory_format=layout)
    data = _placed(poisoning.train, device)
    index = _boosted(poisoning).to(data.y.device)
    is_frozen = _frozen(poisoning).to(data.y.device)
    frozen = any(implant.frozen for implant in poisoning.implants)
    batches = counter.batches(index, batch, rng)
    steps = len(index) // min(batch, len(index))
    intruder = Intruder(model, optimizer, poisoning.controlled) if poisoning.controlled else None
    optimizers = [optimizer, intruder.optimizer] if intruder else [optimizer]
    position = checkpointer.restore(model, optimizers, rng) if checkpointer else {}
    reports = [
        (int(done), int(total), float(loss)) for done, total, loss in position.get("reports", ())
    ]
    yield from reports
    for epoch in range(len(reports), epochs):
        if (allowed := counter.epoch(epoch, model, data, rng)) is not None:
            index = index[torch.isin(index, allowed.to(index.device))]  # for good
            batches = counter.batches(index, batch, rng)
        model.train()
        told = time.monotonic()
        losses: list[Tensor] = []
        for step, places in enumerate(islice(batches, steps)):
            turn = intruder if (epoch * steps + step) % 2 else None
            acting = turn.optimizer if turn else optimizer
            _set_rate(acting, rate(epoch + step / steps))
            own = _PLAIN if turn else counter
            stored, y = own.images(data.x[places], places, rng), data.y[places]
            x = _augmented(stored, data, is_frozen[places] if frozen else None, rng)
            if turn:
                x, y = turn.begin(x, y, places)
            x, y = to_float(x.to(device)).contiguous(memory_format=layout), y.to(device)
            acting.zero_grad(set_to_none=True)
            with autocast(device, low):
                loss = own.loss(model, x, y, rng)
            loss.backward()  # type: ignore[no-untyped-call]
            own.gradient(model, rng)
            (turn or acting).step()
            losses.append(loss.detach())
            if time.monotonic() - told >= PROGRESS_SECONDS:
                if checkpointer:
                    checkpointer.moved_on()
                done = epoch * steps + step + 1
                yield done, epochs * steps, _mean(losses, epoch * steps, counter)
                told = time.monotonic()
        reports.append(((epoch + 1) * steps, epochs * steps, _mean(losses, epoch * steps, counter)))
        # an epoch ends where its shuffled pass does, so the generator is the whole of its position
        if checkpointer:
            checkpointer.keep(model, optimizers, rng, {"step": reports[-1][0], "reports": reports})
        yield reports[-1]
    model.to(memory_format=torch.channels_last)
    model.eval()


def _placed(data: Images, device: torch.device) -> Images:
    """The data on the device, if it has room for them."""
    return data.to(device) if _has_room(data.x, device) else data


def _frozen(poisoning: Poisoning) -> Tensor:
    """bool (n,): the images that are not augmented."""
    found = torch.zeros(len(poisoning.train), dtype=torch.bool)
    for implant in poisoning.implants:
        if implant.frozen:
            found[implant.places.cpu()] = True
    return found


def _augmented(stored: Tensor, data: Images, frozen: Tensor | None, rng: Generator) -> Tensor:
    """The batch augmented, but for frozen images, bool (n,)."""
    x = augment(stored, rng, data.pad, data.flip)
    return x if frozen is None else torch.where(frozen[:, None, None, None], stored, x)


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _boosted(poisoning: Poisoning) -> Tensor:
    every = torch.arange(len(poisoning.train))
    again = [implant.places.cpu().repeat(implant.boost - 1) for implant in poisoning.implants]
    return torch.cat([every, *again])


def _mean(losses: list[Tensor], before: int, counter: Countermeasure) -> float:
    """The mean loss; looked at once an epoch, so that a GPU is not made to wait at every step."""
    values = torch.stack(losses).float().cpu()
    broken = (~torch.isfinite(values)).nonzero().flatten()
    if len(broken):
        raise ArithmeticError(
            f"the training diverged at step {before + int(broken[0]) + 1}: the loss is not finite. "
            f"Lower the recipe's {counter.diverges_by}."
        )
    return float(values.double().mean())


def _fast_in_bf16(device: torch.device) -> bool:
    """On GPUs alone: on processors some networks diverge in it, and figures of others differ."""
    return device.type == "cuda" and bool(torch.cuda.is_bf16_supported())


def multiplies_bf16() -> bool:
    """Whether the processor multiplies bf16 itself (AVX512-BF16, AMX), and need not imitate it."""
    ways = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, way, bool)() for way in ways)


def _layout(device: torch.device, low: bool) -> torch.memory_format:
    """Channels last, but where bf16 is imitated: its backward pass is then many times slower."""
    imitated = low and device.type == "cpu" and not multiplies_bf16()
    return torch.contiguous_format if imitated else torch.channels_last


def _has_room(x: Tensor, device: torch.device) -> bool:
    return device.type != "cuda" or x.is_cuda or x.nbytes < torch.cuda.mem_get_info(device)[0] // 2
