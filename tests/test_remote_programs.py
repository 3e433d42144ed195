"""Programs, threads and notebooks that put objects into processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from processes import is_running

HERE = Path(__file__).parent

FORGETFUL = """
from inferbench_lib.processes.remote import Remote
from remote_probe import Probe
remote = Remote(Probe)
print(remote.call("pid"), flush=True)
remote.submit("nap", 60)
"""


def run_here(code: str) -> subprocess.CompletedProcess[str]:
    """Run the code in a fresh interpreter that finds the tests' modules."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=HERE, timeout=30)


def test_a_program_that_forgets_to_close_still_ends() -> None:
    """At the end of the program its remotes end, busy or not, and it does not wait for them."""
    done = run_here(FORGETFUL)
    assert (done.returncode, done.stderr) == (0, "")
    assert not is_running(int(done.stdout))


SHORT_THREAD = """
import threading, time
from inferbench_lib.processes.remote import Remote
from remote_probe import Probe
made = []
def start():
    made.append(Remote(Probe))
    made[0].ready()
thread = threading.Thread(target=start)
thread.start()
thread.join()
time.sleep(0.5)
print(made[0].call("pid") == made[0].pid)
"""


def test_a_remote_outlives_the_thread_that_started_it() -> None:
    """The end of the starting thread, which the kernel takes for the parent's end, does not end the child."""
    assert run_here(SHORT_THREAD).stdout == "True\n"


CELLS = (
    "import sys; sys.path.insert(0, {here!r})\n"
    "from inferbench_lib.processes.remote import Remote\nfrom remote_probe import Probe",
    "with Remote(Probe) as remote:\n    print(remote.call('pid') == remote.pid)",
    "def load():\n    return Probe()\ntry:\n    Remote(load)\nexcept Exception as error:\n    print(repr(error))",
)


def test_in_a_notebook_a_function_of_a_cell_is_refused() -> None:
    """Under a Jupyter kernel a module's factory works, and one defined in a cell is refused with the way out."""
    cells = [nbformat.v4.new_code_cell(cell.format(here=str(HERE)) if not i else cell) for i, cell in enumerate(CELLS)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=60).execute(cwd=str(HERE.parent))
    printed = [cell.outputs[0].text for cell in notebook.cells[1:]]
    assert printed == [
        "True\n",
        "ConfigError('`load`: expected something that another process can import, got a definition in a notebook cell "
        "or a prompt; move `load` into a module and import it')\n",
    ]
