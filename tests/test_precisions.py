"""The gain of a lower precision as a recommendation, and shares that are written as bounds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import sample_runs as samples
from page_texts import row

from inferbench_lib.records import Measurement, Run, Verification
from inferbench_lib.studies import study, voice
from inferbench_lib.studies.hardware_analysis import page
from inferbench_lib.studies.hardware_analysis.page_costs import at_most
from inferbench_lib.studies.summary import page as summary


def bf16(factor: float, size: str = "small", wobble: Any = samples.WOBBLE) -> Measurement:
    """A network's cell in bf16, so many times as fast as fp32."""
    plain = samples.network(size, "cpu", 16)
    seen = Verification(passed=True, n_checked=160, max_abs_difference=0.0123)
    case = replace(plain.case, precision="bf16")
    return samples.cell(case, 0.52 / factor if size == "small" else 10.4 / factor, wobble, calls=3, verification=seen)


def hardware(*cells: Measurement) -> Run:
    """A run of the networks in fp32 and of these cells."""
    return samples.hardware_run([*(samples.network(size, "cpu", 16) for size in ("small", "large")), *cells])


def test_a_lower_precision_that_gains_is_recommended() -> None:
    """0.52 s in fp32 over 0.30 s are 1.75 times; the recommendation is the first thing on both pages."""
    run = hardware(bf16(1.75))
    advice = voice.advice(run)
    assert advice is not None
    assert advice.recommendation == "run the small network in bf16: 1.75× (1.75–1.75) as fast as fp32"
    assert advice.evidence == (
        "the small network compared within 8 rounds in batch 16 on 4 threads, "
        "outputs up to 0.0123 from the float64 ones"
    )
    said = voice.answer(run)
    assert said.verdict.startswith("Run the small network in bf16: 1.75× (1.75–1.75) as fast as fp32.")
    assert len(said.verdict.split()) <= 45
    assert (said.cards[0].value, said.code) == ("1.75×", advice.code)
    assert "Run the small network in bf16" in summary.to_do({run.notebook: run})
    assert advice.code.splitlines()[0] in summary.to_do({run.notebook: run})


def test_both_networks_are_recommended_together() -> None:
    """Each with its own gain."""
    advice = voice.advice(hardware(bf16(1.75), bf16(1.5, "large")))
    assert advice is not None
    assert advice.recommendation == (
        "run the small network and the large network in bf16: 1.75× (1.75–1.75) and 1.50× (1.50–1.50) as fast as fp32"
    )


@pytest.mark.parametrize(
    "cell", [bf16(1.09), bf16(0.5), bf16(1.75, wobble=samples.RAMP), bf16(1.75, wobble=samples.SHORT),
             samples.wrong(bf16(1.75))],
)  # fmt: skip
def test_a_lower_precision_that_gains_little_or_has_no_verdict_is_not(cell: Measurement) -> None:
    """Less than a tenth, slower, drifting, too few rounds, wrong outputs: fp32 stays, and nothing is advised."""
    assert voice.advice(hardware(cell)) is None
    assert "bf16" not in voice.answer(hardware(cell)).verdict


def test_the_lines_run_a_network_in_bf16() -> None:
    """As they stand: the outputs are float32 and close to those of fp32."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model, images = torch.nn.Linear(4, 3), torch.rand(5, 4)
    with torch.inference_mode():
        expected = model(images)
        seen: dict[str, Any] = {"torch": torch, "model": model, "images": images}
        exec(voice.answer(hardware(bf16(1.75))).code, seen)
    assert seen["outputs"].dtype is torch.float32
    assert torch.allclose(seen["outputs"], expected, atol=0.05)


@pytest.mark.parametrize(("value", "text"), [(0.1047, "11 %"), (0.10, "10 %"), (0.0, "0 %"), (0.001, "1 %")])
def test_a_bound_is_never_rounded_below_its_value(value: float, text: str) -> None:
    """10.47 % is not within 10 %."""
    assert at_most(value) == text


def test_a_layers_share_is_that_of_the_time_beside_it() -> None:
    """Time, share and text rest on one centre: 10 ms of limit over the centre of rounds that are not symmetric."""
    run = samples.with_tables(samples.hardware_run(), **samples.standing_tables((1.0, 1.0, 1.0, 1.0, 1.6, 1.6, 1.6)))
    said = study(run)
    layer = said.profiles[0].layers[0]
    assert layer.seconds.value != pytest.approx(0.02)
    assert layer.share == pytest.approx(0.01 / layer.seconds.value)
    shown = row(page.layer_table(said), layer="conv1")["of attainable"]
    assert shown == f"{100 * 0.01 / layer.seconds.value:.0f} %"
