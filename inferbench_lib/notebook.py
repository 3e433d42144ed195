"""What a notebook's cells call, under one name each: `ib.show`, `ib.table`, `ib.system`, …"""

from inferbench_lib.report.display import answer, download, markup, read, show, table
from inferbench_lib.report.explore import explore
from inferbench_lib.report.page_parts import method, system
from inferbench_lib.studies import parameters, study

__all__ = [
    "answer",
    "download",
    "explore",
    "markup",
    "method",
    "parameters",
    "read",
    "show",
    "study",
    "system",
    "table",
]
