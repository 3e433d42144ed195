"""Define every error that inferbench raises on purpose, as one tree.

InferbenchError
├── ConfigError            a parameter or a parameter file is invalid (exit code 2)
├── StoreError             a file of a run cannot be written or read
├── MeasurementError       a cell could not be measured
│   ├── WorkerError        a child process failed
│   │   ├── WorkerDied     it ended without an answer (signal or exit code)
│   │   ├── WorkerRaised   its code raised; carries the traceback as text
│   │   └── WorkerHung     it did not answer within its time limit
│   ├── OutOfMemory        the device or the process ran out of memory
│   └── WrongOutput        outputs differ from the reference
├── NotAvailable           a device, library or facility is not on this machine
└── ReportError            a notebook or a page could not be made

A message has the name, the expected value, the actual value and what to do next.
"""

from __future__ import annotations


class InferbenchError(Exception):
    """Base class of all errors; its text is written for the user."""


class ConfigError(InferbenchError):
    """An invalid parameter or parameter file."""


class StoreError(InferbenchError):
    """A file of a run that cannot be written or read."""


class MeasurementError(InferbenchError):
    """A cell that could not be measured."""


class WorkerError(MeasurementError):
    """A failed child process."""


class WorkerDied(WorkerError):
    """A child process that ended without an answer."""


class WorkerRaised(WorkerError):
    """An exception in a child process; its note is the original traceback."""


class WorkerHung(WorkerError):
    """A child process that did not answer within its time limit."""


class OutOfMemory(MeasurementError):
    """Exhausted memory of the device or of the process."""


class WrongOutput(MeasurementError):
    """Outputs that differ from the reference."""


class NotAvailable(InferbenchError):
    """A device, a library or a facility that this machine does not have."""


class ReportError(InferbenchError):
    """A notebook or a page that could not be made."""
