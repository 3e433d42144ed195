"""Every error that inferbench raises on purpose, as one tree.

InferbenchError
├── ConfigError            a parameter or a parameter file is not usable (exit code 2)
├── StoreError             a file of a run cannot be written or read
├── MeasurementError       a cell could not be measured
│   ├── WorkerError        a process of ours failed
│   │   ├── WorkerDied     it ended without an answer (signal or exit code)
│   │   ├── WorkerRaised   its code raised; carries the traceback as text
│   │   └── WorkerHung     it did not answer within its time limit
│   ├── OutOfMemory        the device or the process ran out of memory
│   └── WrongOutput        outputs differ from the reference
├── NotAvailable           a device, library or facility is not on this machine
└── ReportError            a notebook or a page could not be made

Messages name the thing, what was expected, what came and what to do next.
"""

from __future__ import annotations


class InferbenchError(Exception):
    """Root of the tree; its text is written for the user."""


class ConfigError(InferbenchError):
    """A parameter or a parameter file is not usable."""


class StoreError(InferbenchError):
    """A file of a run cannot be written or read."""


class MeasurementError(InferbenchError):
    """A cell could not be measured."""


class WorkerError(MeasurementError):
    """A process of ours failed."""


class WorkerDied(WorkerError):
    """A process ended without an answer."""


class WorkerRaised(WorkerError):
    """Code in a process raised; `traceback_text` is the original traceback."""

    def __init__(self, message: str, traceback_text: str = "") -> None:
        super().__init__(message)
        self.traceback_text = traceback_text

    def __reduce__(self) -> tuple[type[WorkerRaised], tuple[str, str]]:
        return type(self), (str(self), self.traceback_text)


class WorkerHung(WorkerError):
    """A process did not answer within its time limit."""


class OutOfMemory(MeasurementError):
    """The device or the process ran out of memory."""


class WrongOutput(MeasurementError):
    """Outputs differ from the reference."""


class NotAvailable(InferbenchError):
    """A device, a library or a facility is not on this machine."""


class ReportError(InferbenchError):
    """A notebook or a page could not be made."""
