"""Band statistics of batches, and the layer that applies them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from geoxr.errors import ArgumentError


@dataclass(frozen=True)
class Stats:
    """Mean and standard deviation of each band.

    Parameters
    ----------
    mean : tuple of float [units of the band]
        One per band.
    std : tuple of float [units of the band]
        One per band, positive: the population's (divided by n, not n - 1).
    count : int [pixel]
        How many valid pixels they were computed from; 0 where they were made by hand.

    Raises
    ------
    ArgumentError
        If there are no bands, not as many `std` as `mean`, or a `std` is not positive and finite.

    Examples
    --------
    >>> Stats.from_dict(Stats((0.5,), (2.0,), 10).to_dict())
    Stats(mean=(0.5,), std=(2.0,), count=10)
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    count: int

    def __post_init__(self) -> None:
        if not self.mean or len(self.mean) != len(self.std):
            raise ArgumentError(
                f"{len(self.mean)} means and {len(self.std)} standard deviations; "
                "give one of each per band."
            )
        if not all(map(isfinite, self.mean)) or not all(0 < s < float("inf") for s in self.std):
            raise ArgumentError(
                f"Means must be finite and standard deviations positive, not {self.mean} and "
                f"{self.std}. Is nodata among the pixels they were computed from?"
            )

    @classmethod
    def identity(cls, channels: int) -> Stats:
        """Statistics that leave an image of so many bands as it is."""
        return cls((0.0,) * channels, (1.0,) * channels, 0)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, safe in JSON and in a checkpoint."""
        return {key: list(v) if key != "count" else v for key, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Stats:
        """Make them of what `to_dict` returned."""
        mean, std = (tuple(map(float, values[key])) for key in ("mean", "std"))
        return cls(mean, std, int(values.get("count", 0)))


def valid_of(batch: Mapping[str, Tensor], key: str) -> Tensor | None:
    """Where variable `key` of a batch is valid, bool (B, H, W); None if the batch doesn't say."""
    return batch.get(f"valid_{key}", batch.get("valid"))


def stats_of_batches(batches: Iterable[Mapping[str, Tensor]], *, key: str = "image") -> Stats:
    """Compute the statistics of all valid pixels of all batches, in one pass and in float64.

    Batches are reduced to (count, mean, sum of squared deviations) and merged pairwise, which
    loses no digits where the mean is large beside the spread, and gives the same numbers however
    pixels are divided into batches.

    Parameters
    ----------
    batches : iterable of mapping
        Each with `key`, float (B, C, H, W) or (B, T, C, H, W), and ``valid_<key>`` or ``valid``, bool
        (B, H, W) or (B, T, H, W).
        Without either all pixels count.
    key : str
        Name of the variable.

    Returns
    -------
    Stats
        The `std` of a constant band (spread below 1e-9 of its mean, so only rounding) is 1:
        normalised, the band is 0 everywhere instead of a division by zero.

    Raises
    ------
    ArgumentError
        If no pixel is valid, or a pixel that is marked valid is NaN or infinite.

    References
    ----------
    Chan, Golub, LeVeque: "Updating formulae and a pairwise algorithm for computing sample
    variances", COMPSTAT 1982, equation 2.1.
    """
    count, mean, m2 = 0, torch.zeros(()), torch.zeros(())
    for batch in batches:
        pixels = _valid_pixels(batch[key].detach(), valid_of(batch, key))
        n = pixels.shape[1]
        if n == 0:
            continue
        batch_mean = pixels.mean(dim=1)
        batch_m2 = (pixels - batch_mean[:, None]).square().sum(dim=1)
        delta = batch_mean - mean.to(batch_mean)
        mean = mean.to(batch_mean) + delta * (n / (count + n))
        m2 = m2.to(batch_m2) + batch_m2 + delta.square() * (count * n / (count + n))
        count += n
    if count == 0:
        raise ArgumentError(
            f"No valid pixel of {key!r} in the batches, so there is nothing to take statistics of. "
            "Draw other chips, or chips with min_valid above 0."
        )
    std = (m2 / count).sqrt()
    _check_finite(mean, std, key)
    std = torch.where(std <= 1e-9 * mean.abs(), torch.ones_like(std), std)
    return Stats(tuple(mean.tolist()), tuple(std.tolist()), count)


def _valid_pixels(image: Tensor, valid: Tensor | None) -> Tensor:
    """Valid pixels as float64 (C, n)."""
    pixels = image.movedim(-3, 0)
    if valid is not None:
        if valid.ndim < pixels.ndim - 1:  # the same for all dates
            valid = valid.unsqueeze(1).expand(pixels.shape[1:])
        return pixels[:, valid].double()
    return pixels.flatten(1).double()


def _check_finite(mean: Tensor, std: Tensor, key: str) -> None:
    bad = (~(mean.isfinite() & std.isfinite())).nonzero().flatten().tolist()
    if bad:
        raise ArgumentError(
            f"Bands {bad} (counted from 0) of {key!r} are NaN or infinite in pixels that are "
            "marked valid. Give the layer its nodata: .geoxr.write_nodata(value)."
        )


class Normalize(nn.Module):
    """Subtract the mean of each band and divide by its standard deviation.

    Parameters
    ----------
    stats : Stats
        As :func:`stats_of_batches` returns. They become buffers, so they move with the module.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, stats: Stats) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(stats.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(stats.std)[:, None, None])

    def forward(self, image: Tensor, valid: Tensor | None = None, fill: float = 0.0) -> Tensor:
        """Normalise an image; invalid pixels become `fill` whatever they held, NaN included.

        Parameters
        ----------
        image : float (B, C, H, W) or (B, T, C, H, W)
            In the units of the statistics.
        valid : bool (B, H, W) or (B, T, H, W), optional
            True where pixels are to be used.
        fill : float
            In units of the normalised image: 0 is the mean of the band.

        Raises
        ------
        ArgumentError
            If the image has another number of bands than the statistics.
        """
        if image.ndim < 3 or image.shape[-3] != len(self.mean):
            raise ArgumentError(
                f"The image has shape {tuple(image.shape)}, but (B, {len(self.mean)}, H, W) is "
                f"expected: in_channels, and the statistics, are for {len(self.mean)} bands. "
                "Pick the same bands in the same order as for training."
            )
        image = (image - self.mean) / self.std
        return image if valid is None else image.masked_fill(~valid.unsqueeze(-3), fill)
