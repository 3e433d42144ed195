"""Read a `cpu_vs_gpu` run: what was measured on the devices, and what the model says of GPUs that are not here."""

from __future__ import annotations

from inferbench_lib.records import Figure
from inferbench_lib.studies.cpu_vs_gpu import devices, predicted
from inferbench_lib.studies.cpu_vs_gpu.devices import DeviceStudy, study

__all__ = ["figures", "study"]


def figures(said: DeviceStudy) -> dict[str, Figure]:
    """Return the entries of `summary.json`."""
    return devices.figures(said) | predicted.figures(said)
