"""The figures on each page are right: sample runs whose every number is known by hand."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
import sample_runs as samples
from matplotlib.figure import Figure
from page_texts import row

from inferbench_lib.records import Measurement
from inferbench_lib.report.words import interval
from inferbench_lib.stats.entries import labels
from inferbench_lib.stats.roofline import Bound
from inferbench_lib.studies import voice
from inferbench_lib.studies.batch_sweep import page as sweep
from inferbench_lib.studies.cpu_multiprocess import page as multiprocess
from inferbench_lib.studies.cpu_vs_gpu import page as devices
from inferbench_lib.studies.hardware_analysis import page as hardware
from inferbench_lib.studies.hardware_analysis.bounds import WholePoint
from inferbench_lib.studies.hardware_analysis.figures import roofs

# cpu_multiprocess: the samples take 4.0, 1.25, 5.0, 1.2 and 1.0 s


def test_the_simplest_way_is_named_with_its_speedup() -> None:
    """4.0 s over 1.25 s is 3.20 times; 1.2 s are 4 % more."""
    answer = voice.answer(samples.multiprocess())
    assert answer.verdict == (
        f"Set n_jobs=4: 3.20× as fast as one process ({interval(3.2, 3.2)}). The shared-memory pool adds 4 % (4–4 %)."
    )
    assert [card.value for card in answer.cards] == ["3.20×", "3.33×", "0.80×", "4.00×"]


def test_table_of_ways_is_right() -> None:
    """Speedup, efficiency over 4 processes and the share of the ceiling, by hand."""
    table = multiprocess.table(multiprocess.study(samples.multiprocess()))
    pool = row(table, way="the shared-memory pool")
    assert (pool["median"], pool["speedup"], pool["efficiency"], pool["of the ceiling"], pool["verdict"]) == (
        "1.20 s",
        "3.33×",
        "83 %",  # 3.33 / 4
        "83 %",  # 3.33 / 4.00
        "faster",
    )
    assert row(table, way="one process")["verdict"] == "baseline"
    assert row(table, way="reference laptop, 4 processes")["speedup"] == "0.738×"


def test_summary_of_ways_has_the_promised_names() -> None:
    """The names that users' scripts read are there, with their values."""
    figures = samples.multiprocess().summary
    values = {name: figure.value for name, figure in figures.items()}
    assert values["single_s"] == pytest.approx(4.0, rel=0.001)
    assert values["multi_s"] == pytest.approx(1.2, rel=0.001)
    assert values["speedup"] == values["speedup[shared_pool]"] == pytest.approx(4 / 1.2)
    assert values["efficiency"] == pytest.approx(4 / 1.2 / 4)
    assert values["verification"] == "PASSED"
    for name, median_s in samples.TIMES_S.items():
        if name not in ("single", "ceiling"):
            assert values[f"speedup[{name}]"] == pytest.approx(4 / median_s)
    assert samples.RUNS["multiprocess, wrong outputs"].summary["verification"].value == "FAILED"


def test_parts_of_the_time_add_up() -> None:
    """The threads' 1.25 s: a second of work, 0.1 s slowed as the ceiling's processes are not, 0.15 s waiting."""
    frame = multiprocess.where_the_time_went(multiprocess.study(samples.multiprocess())).frame
    threads = frame[frame["label"] == "scikit-learn threads"].set_index("part")["seconds"].to_dict()
    assert threads == {
        "useful compute": pytest.approx(1.0),
        "compute slowed beyond the ceiling": pytest.approx(0.1),
        "waiting for a CPU": pytest.approx(0.15, rel=0.01),
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("all failed", f"Not measured: {samples.FAILED['reason']}."),
        (
            "baseline failed",
            f"No verdict: one process was not measured ({samples.FAILED['reason']}), and nothing can be compared "
            "without it.",
        ),
        (
            "pool failed",
            f"Set n_jobs=4: 3.20× as fast as one process ({interval(3.2, 3.2)}). Not measured: the shared-memory pool.",
        ),
        ("baseline alone", "Stay with one process: no other way was measured."),
        (
            "too few rounds",
            "The shared-memory pool: no verdict against one process (too few samples: needs 6 rounds, has 3).",
        ),
        (
            "unstable",
            "The shared-memory pool: no verdict against one process (unstable: candidate is unstable: the container "
            "was throttled for 3.0 s (limit 0 s); raise its quota).",
        ),
        ("wrong outputs", f"No verdict: verification FAILED ({samples.WRONG.detail})."),
    ],
)
def test_verdict_on_ways_holds_back(name: str, expected: str) -> None:
    """What was not shown is not claimed, and why."""
    assert voice.answer(samples.RUNS[f"multiprocess, {name}"]).verdict == expected


def test_an_unstable_way_does_not_hide_a_faster_one() -> None:
    """The quickest is flagged; the next, shown to be faster than one process, is recommended."""
    run = samples.multiprocess(
        samples.way("single"), samples.way("threads"), samples.flagged(samples.way("shared_pool"))
    )
    assert voice.answer(run).verdict.startswith("Set n_jobs=4: 3.20×")


def test_wrong_outputs_are_never_shown_as_fast() -> None:
    """A way with wrong outputs has no time, no speedup and no place in the figures."""
    said = multiprocess.study(samples.RUNS["multiprocess, wrong outputs"])
    threads = row(multiprocess.table(said), way="scikit-learn threads")
    assert (threads["median"], threads["speedup"], threads["verified"], threads["outcome"]) == (
        "–",
        "–",
        "FAILED",
        "invalid",
    )
    assert "scikit-learn threads" not in set(multiprocess.executor_times(said).frame["label"])
    assert "scikit-learn threads" not in set(multiprocess.where_the_time_went(said).frame["label"])


# cpu_vs_gpu: an image takes 40 ms and 8 ms, a batch 0.2 images more


def test_without_a_gpu_it_is_said_plainly() -> None:
    """No GPU is no fault, and nothing is to be installed; 16 images in 0.52 s are 1.23 times 25 per second.

    What to do on the CPU follows, with the lines that do it.
    """
    reached = (
        "For throughput on the CPU, use batches of 16 for the small network and 16 for the large network: "
        "1.23× (1.23–1.23) and 1.23× (1.23–1.23) the throughput of batch 1."
    )
    alone = samples.vs_gpu()
    assert voice.answer(alone).code == (
        "torch.set_num_threads(4)\n"
        "with torch.inference_mode():\n"
        "    outputs = torch.cat([model(batch) for batch in images.split(16)])"
    )
    assert voice.answer(samples.RUNS["devices, one sample"]).code == ""
    with_gpu = replace(alone, machine=replace(alone.machine, accelerators=("Example GPU",)))
    assert voice.answer(alone).verdict == f"No GPU was found. {reached}"
    assert voice.answer(replace(alone, params={**alone.params, "device": "cpu"})).verdict == (
        f"No GPU was asked for. {reached}"
    )
    for missed in (with_gpu, replace(alone, params={**alone.params, "device": "cuda:1"})):
        assert voice.answer(missed).verdict == f"The GPU was not measured: no NVIDIA driver. {reached}"
    assert (
        "not measured"
        in row(
            devices.reference_table(devices.study(samples.vs_gpu())),
            **{"GPU here (images/s)": "not measured", "CPU published": "20–30"},
        )["speedup here"]
    )


def test_with_a_gpu_each_network_has_its_speedup() -> None:
    """40 over 8 ms is five times, 800 over 100 ms eight; calls with their transfers take 1.2 times as long.

    Calls that do not wait for each other take 0.8 times as long: 4 images in 27.2 ms are 184 per second.
    """
    run = samples.vs_gpu(gpu=True)
    verdict = voice.answer(run).verdict
    assert verdict == (
        "Run the small network and the large network on cuda:0: 4.17× (4.17–4.17) and 6.67× (6.67–6.67) as fast as on "
        "the CPU, transfers included. By device time alone: 5.00× and 8.00×."
    )
    cell = row(devices.table(devices.study(run)), network="small", device="cuda:0", batch="4")
    assert (cell["median"], cell["images/s"], cell["peak memory"], cell["end to end"]) == (
        "27.2 ms",
        "184",  # 4 / (0.8 × 0.0272)
        "84.0 MB",
        "32.7 ms",  # 1.2 × 27.2 and the wobble's median
    )
    assert (cell["speedup, end to end"], cell["by device time"]) == ("4.17× (4.17–4.17)", "5.00× (5.00–5.00)")
    calls = devices.inference_comparison(devices.study(run)).frame
    boxes = calls[(calls["panel"] == "box") & (calls["label"] == "small, cuda:0")]["value"]
    assert boxes.median() == pytest.approx(1.2 * 8 * (0.2 + 0.8 * 16) / 16, rel=0.01)


def test_a_gpu_is_recommended_where_it_gains_more_than_a_tenth() -> None:
    """With transfers the small network gains 4.17 times; with transfers of 6 times the call it is slower."""
    run = samples.vs_gpu(gpu=True)

    def slow(cell: Measurement) -> Measurement:
        of = "cnn-large" in cell.case.workload and cell.case.device != "cpu"
        late = tuple(9 * s for s in cell.series.get("end_to_end_s", ()))
        return replace(cell, series={**cell.series, "end_to_end_s": late}) if of else cell

    advice = voice.advice(replace(run, measurements=tuple(map(slow, run.measurements))))
    assert advice is not None
    assert advice.recommendation == (
        "run the small network on cuda:0: 4.17× (4.17–4.17) as fast as on the CPU, transfers included; "
        "keep the large network on the CPU: with transfers cuda:0 is 0.74× (0.74–0.74) as fast"
    )
    assert advice.code == (
        'model = model.to("cuda:0")\n'
        "with torch.inference_mode():\n"
        '    outputs = torch.cat([model(batch.to("cuda:0")).cpu() for batch in images.split(16)])'
    )
    assert voice.answer(run).code == advice.code


def test_summary_of_devices_has_the_promised_names() -> None:
    """Parameters, throughput by size, device and batch, and a speedup a size."""
    figures = samples.vs_gpu(gpu=True).summary
    assert figures["parameters[small]"].value == 8_765_066
    assert figures["throughput[small,cpu,b16]"].value == pytest.approx(16 / 0.52, rel=0.001)
    assert figures["throughput[large,cuda:0,b1]"].value == pytest.approx(1 / 0.08, rel=0.001)
    assert figures["latency_s[large,cuda:0,b1]"].value == pytest.approx(0.1, rel=0.001)
    assert figures["end_to_end_s[large,cuda:0,b1]"].value == pytest.approx(0.12, rel=0.001)
    assert figures["speedup[small]"].value == pytest.approx(5.0 / 1.2)
    assert figures["speedup[large]"].value == pytest.approx(8.0 / 1.2)
    assert figures["device_speedup[small]"].value == pytest.approx(5.0)
    alone = samples.vs_gpu().summary
    assert (alone["speedup[small]"].value, alone["speedup[small]"].verdict) == (None, "not measured")


def test_engines_and_threads_tell_networks_apart_and_batches_do_not() -> None:
    """Cells of one row of figures share a name; an unusual engine and other threads are in it."""
    usual = samples.network("small", "cpu", 1).case
    others = [
        replace(usual, batch_size=4, device="cuda:0"),
        replace(usual, n_threads=2),
        replace(usual, engine="onnxruntime"),
    ]
    named = labels([usual, *others], "workload", apart_from=("device", "batch_size"))
    assert [label.key for label in named.values()] == [
        "cnn-small",
        "cnn-small",
        "cnn-small,t2",
        "cnn-small,onnxruntime",
    ]


def test_a_batch_that_does_not_fit_is_a_row() -> None:
    """Out of memory at batch 16 is a row and a warning, and the speedup is that of the best batch that fits."""
    run = samples.RUNS["devices, GPU out of memory"]
    cell = row(devices.table(devices.study(run)), device="cuda:0", batch="16")
    assert (cell["outcome"], cell["median"], cell["images/s"]) == ("oom", "–", "–")
    assert (
        "small network on cuda:0, batch 16: oom (CUDA out of memory: tried to allocate 2.00 GB)"
        in voice.answer(run).flags
    )
    assert run.summary["throughput[small,cuda:0,b16]"].value is None
    assert run.summary["speedup[small]"].value == pytest.approx(5.0 / 1.2)


def test_model_is_marked_as_one() -> None:
    """What was not measured carries MODEL in axis, alt text and reading, and the same model's error beside it."""
    view = devices.modelled_gpus(devices.study(samples.vs_gpu()))
    assert "MODEL" in view.frame.attrs["x"]
    assert "MODEL" in view.alt
    assert view.reading.startswith("MODEL, not measured: a GTX 750 Ti")
    assert "the band holds 0 of 6 measured times; the worst is the " in view.reading


def test_published_figures_stand_beside_the_band_of_their_card() -> None:
    """Where the band does not hold them, by how much: 83 images/s at least where 8 to 12 were published."""
    table = devices.reference_table(devices.study(samples.vs_gpu()))
    assert "MODEL, large: 82.6–187 images/s; the published 8–12 are below it by 6.88×" in table.reading
    assert "12 images/s use 5 % of that card's fp32 peak" in table.reading
    cell = row(table, **{"GTX 750 Ti published": "8–12"})
    assert cell["GTX 750 Ti MODEL"] == "82.6–187"


def test_modelled_memory_names_its_allowance() -> None:
    """35.1 MB of weights and 16 times 2.15 MB of activations are 69.4 MB; with the allowance 576 MB."""
    said = devices.study(samples.vs_gpu())
    table = devices.memory_table(said)
    assert "The allowance is 500 MB for driver and libraries, plus 10 % for the allocator." in table.reading
    small = row(table, weights="35.1 MB")
    assert (small["at batch 16"], small["with the allowance"], small["largest batch in 2 GB"]) == (
        "69.4 MB",
        "576 MB",
        "619",
    )


def test_break_even_is_said_for_every_card_and_network() -> None:
    """12 cards and 2 networks, all faster from the first batch on: a sentence, no table of 24 equal rows.

    Where the CPU takes 1 ns for the small network's batches but the last, that network is the sentence and the large
    one the rows. Against a CPU that takes 1 ns for all nothing ever pays, and against one that was not measured nothing
    breaks even.
    """
    run = samples.vs_gpu()
    table = devices.break_even_table(devices.study(run))
    assert table.frame.empty
    assert table.reading == (
        "MODEL: transfers included, all 24 pairs of GPU and network would be faster than this CPU from batch 1 on, at "
        "the pessimistic end too. Copying the weights to the GPU pays off after 1 image. Starting the driver and the "
        "program is not counted."
    )

    def in_1_ns(cell: Measurement, *, spared: bool) -> Measurement:
        return cell if spared else replace(cell, samples_s=(1e-9,) * len(cell.samples_s))

    def alike(cell: Measurement) -> bool:
        return cell.case.workload == "cnn-large" or cell.case.batch_size == 16

    mixed = tuple(in_1_ns(cell, spared=alike(cell)) for cell in run.measurements)
    table = devices.break_even_table(devices.study(replace(run, measurements=mixed)))
    assert table.reading.startswith(
        "MODEL: transfers included, 12 of 24 pairs of GPU and network would be faster than this CPU from batch 16 on, "
    )
    columns = ["network", "break-even batch, optimistic", "pessimistic"]
    assert table.frame[columns].drop_duplicates().to_numpy().tolist() == [["large", "1", "1"]]
    assert table.frame["GPU"].nunique() == len(table.frame) == 12
    never = tuple(in_1_ns(cell, spared=False) for cell in run.measurements)
    table = devices.break_even_table(devices.study(replace(run, measurements=never)))
    assert table.frame.empty
    assert table.reading.startswith(
        "MODEL: transfers included, all 24 pairs of GPU and network would not be faster than this CPU at any measured "
        "batch. Starting"
    )
    nothing = devices.break_even_table(devices.study(samples.RUNS["devices, processor failed"]))
    assert nothing.reading == "MODEL: no network was measured on this CPU, so there is no break-even."


def test_summary_marks_what_is_modelled() -> None:
    """Throughput and batches of cards that are not there carry MODEL and the band's ends."""
    figures = samples.vs_gpu().summary
    card = figures["model_throughput[GTX 750 Ti,large]"]
    assert (card.low, card.high, card.verdict) == (
        pytest.approx(82.6, rel=0.01),
        pytest.approx(187, rel=0.01),
        "MODEL, batch 16",
    )
    assert (figures["model_largest_batch[small,2gb]"].value, figures["model_largest_batch[small,2gb]"].verdict) == (
        619,
        "MODEL",
    )


# batch_sweep: 1 ms and 2 µs a row


def test_best_batch_is_that_within_the_limits() -> None:
    """100,000 rows take 201 ms, above 100 ms; 10,000 take 21 ms and give 476,190 rows a second."""
    run = samples.sweep()
    assert run.summary["best_batch[forest,cpu]"].value == 10_000
    assert run.summary["best_throughput[forest,cpu]"].value == pytest.approx(10_000 / 0.021, rel=0.001)
    assert run.summary["best_batch[cnn-small,cuda:0]"].value == 4
    verdict = voice.answer(run).verdict
    assert verdict.startswith("With p95 latency of at most 100 ms and memory of at most 2.0 GB: use batches of 10,000 ")
    assert voice.answer(samples.sweep(max_latency_s=None, max_memory_bytes=None)).verdict.startswith(
        "Without stated limits: use batches of 100,000 for the forest on cpu, 1 thread"
    )


def test_the_sentence_names_a_workloads_fastest_device_alone() -> None:
    """The small network is faster on the GPU: that batch is in the sentence and first, the CPU's on a later card."""
    answer = voice.answer(samples.sweep())
    assert "the small network on cuda:0" in answer.verdict
    assert "the small network on cpu" not in answer.verdict
    assert [card.label for card in answer.cards] == [
        "best for the forest on cpu, 1 thread",
        "best for the small network on cuda:0",
        "best for the small network on cpu, 4 threads",
    ]


def test_knee_is_where_throughput_stops_rising() -> None:
    """476,190 rows a second at 10,000 are within 5 % of the 497,512 at 100,000; 83,333 at 100 are not."""
    run = samples.sweep()
    knee = run.summary["knee[forest,cpu]"]
    assert (knee.value, knee.low, knee.high, knee.verdict) == (10_000, 10_000, 10_000, "reached")
    reading = sweep.throughput_by_batch(sweep.study(run)).reading
    assert (
        "The forest on cpu, 1 thread: batches above 10,000 (95 % of resampled rounds: "
        f"{interval(10_000, 10_000, '{:,}'.format)}) gain less than 5 %" in reading
    )


def test_device_asked_for_by_name_that_is_not_there_is_said() -> None:
    """A sweep on `cuda:7` of a machine without it says so first of all; `auto` asks for none."""
    run = replace(samples.sweep(device="cuda:7"), tables={"accelerator_reason": "no accelerator: a CPU build"})
    assert "cuda:7 was not measured: no accelerator: a CPU build" in voice.answer(run).flags
    alone = replace(run, params={**run.params, "device": "auto"})
    assert not any("was not measured" in flag for flag in voice.answer(alone).flags)


def test_memory_is_said_to_be_whose_it_is() -> None:
    """On the CPU it is above the idle process (of a run without it, the whole process), on a device what it gave."""
    reading = sweep.memory_by_batch(sweep.study(samples.sweep())).reading
    assert (
        "The forest on cpu, 1 thread: 1.0 MB at batch 1 and 41.0 MB at batch 100,000 (above the idle process, "
        "each batch in a new one)." in reading
    )
    assert (
        "The small network on cpu, 4 threads: 400 MB at batch 1 and 400 MB at batch 16 (the whole process)" in reading
    )
    assert (
        "The small network on cuda:0: 80.0 MB at batch 1 and 80.0 MB at batch 16 (allocated on the device)." in reading
    )
    nothing = sweep.memory_by_batch(sweep.study(samples.RUNS["sweep, no memory"]))
    assert nothing.reading == "Memory was not measured."


def test_percentiles_stand_only_where_samples_carry_them() -> None:
    """320 calls carry p99, 64 only p95."""
    table = sweep.table(sweep.study(samples.sweep()))
    many, few = (
        row(table, workload="the forest on cpu, 1 thread", batch="1"),
        row(table, workload="the forest on cpu, 1 thread", batch="10,000"),
    )
    assert (many["calls"], few["calls"]) == ("320 calls", "64 calls")
    assert many["p99"] != "–"
    assert (few["p95"] == "–", few["p99"]) == (False, "–")


# hardware_analysis: 100 GFLOP/s, 20 GB/s, a serial tenth


def test_limits_are_named_with_their_figures() -> None:
    """The binding limit of each workload leads, then peak, bandwidth and usable CPUs."""
    answer = voice.answer(samples.hardware_run())
    assert [card.value for card in answer.cards] == ["compute-bound", "software-bound", "100 GFLOP/s", "20.0 GB/s", "4"]
    assert answer.verdict == (
        "The small network is compute-bound (50 % of that limit). The hardware is not the limit of the forest (18 % of "
        "what this CPU allows): another engine would help."
    )
    assert any("another program took 12 %" in flag for flag in answer.flags)


def test_only_the_gain_of_measured_layers_is_promised() -> None:
    """Where no limit is near, every layer at its roof would take 20 of 300 ms; of a forest no gain is known."""
    said = hardware.study(samples.hardware_run())
    (profile,) = said.profiles
    slow = [replace(layer, seconds=layer.seconds.map(lambda s: 5 * s)) for layer in profile.layers]
    profiles = (replace(profile, layers=tuple(slow)),)
    assert hardware.answer(replace(said, profiles=profiles, forests=())).verdict == (
        "The hardware is not the limit of the small network (7 % of what this CPU allows): another engine could gain "
        "up to 15.0×."
    )
    assert "another engine could gain up to 15.0× for the small network." in (
        hardware.answer(replace(said, profiles=profiles)).verdict
    )


def test_the_roofline_is_read_back_in_full() -> None:
    """Every bound with its share of the time, and the forest's other limits as shares of its time."""
    said = hardware.study(samples.hardware_run())
    assert hardware.workload_roofline(said).reading == (
        "The small network (batch 1 on 4 threads) is compute-bound: conv1 takes 33 % of the time and reaches 50 % of "
        "what this CPU allows. Other layers are limited by the program itself (33 % of the time) and memory bandwidth "
        "(33 % of the time). The hardware is not the limit of the forest (10,000 rows on 4 threads): the nearest limit "
        "explains 18 % of each 22.0 ns node visit. Another engine would help. Each limit as a share of its time: call "
        "overhead 18 %, arithmetic 0.2 % and cache bandwidth 12 %."
    )


@pytest.mark.parametrize(
    ("bound", "roof_share", "said"),
    [
        ("latency", 0.6, "memory-latency-bound: 60 % of each 22.0 ns node visit waits for the load of the next node."),
        ("launch", 0.9, "overhead-bound: 90 % of each call is a fixed cost, whatever its rows."),
        ("bandwidth", 0.7, "memory-bandwidth-bound: memory bandwidth explains 70 % of each 22.0 ns node visit."),
    ],
)
def test_each_bound_of_the_forest_has_its_sentence(bound: Bound, roof_share: float, said: str) -> None:
    """The share of the time that the limit explains, and of which part."""
    study = hardware.study(samples.hardware_run())
    forest = forest_bound_by(study.forests[-1], bound, roof_share)
    reading = hardware.workload_roofline(replace(study, forests=(forest,))).reading
    assert f"The forest (10,000 rows on 4 threads) is {said}" in reading


def test_a_workload_above_its_limit_is_a_warning() -> None:
    """120 % of a limit cannot be: the limit is wrong, not the workload."""
    study = hardware.study(samples.hardware_run())
    forest = forest_bound_by(study.forests[-1], "latency", 1.2)
    assert hardware.answer(replace(study, forests=(forest,))).flags[0] == (
        "The forest is faster than its limit, which was measured on a busier machine. Run again."
    )


def forest_bound_by(point: WholePoint, bound: Bound, roof_share: float) -> WholePoint:
    """The same point under one limit, which allows this share of its time."""
    floors_s: dict[Bound, float] = {bound: roof_share * point.seconds}
    return replace(point, roof=replace(point.roof, floors_s=floors_s), roof_share=roof_share)


def test_without_layers_whole_networks_are_placed() -> None:
    """16 images of 333 MFLOP in 0.52 s are 10.2 GFLOP/s, a tenth of the peak; why there are no layers is said."""
    answer = voice.answer(samples.RUNS["hardware, layers not measured"])
    assert answer.verdict.startswith(
        "The hardware is not the limit of the small network (10 % of what this CPU allows): another engine would help."
    )
    assert "the forest's node visits was not measured: lost" in answer.flags


def test_predictions_are_said_to_hold_or_not() -> None:
    """4 threads bring 2.00× where 3.14× was predicted; batches of 16 bring what was predicted, nearly."""
    said = hardware.study(samples.hardware_run())
    assert hardware.what_ifs(said).reading == (
        "2 of 3 predictions are within 25 % of the measured gain. Missed: forest, b10000,t1: threads 1 → 4 (+57 %). "
        "There the share of the limit changed, which the model keeps constant: trust the measured gain. The largest "
        "gain that this machine cannot try: small network, b1,t4: an engine with every layer at its roof, at most, "
        "3.00× (MODEL)."
    )
    table = hardware.what_if_table(said)
    assert row(table, workload="forest, b1,t1", change="batch 1 → 16")["verdict"] == "within 25 % of the measurement"
    assert row(table, change="threads 1 → 4")["error of the model"] == "+57 %"
    assert row(table, change="twice the memory bandwidth")["verdict"] == "MODEL, not checked here"
    (missed,) = [one for one in said.what_ifs if one.change == "threads 1 → 4"]
    assert missed.measured is not None
    wide = replace(missed, measured=replace(missed.measured, high=2.6))
    others = tuple(one for one in said.what_ifs if one is not missed)
    undecided = replace(said, what_ifs=(wide, *others))
    assert hardware.what_ifs(undecided).reading.startswith(
        "2 of 3 predictions are within 25 % of the measured gain; 1 inconclusive: the measured interval is too wide. "
        "The largest"
    )
    nothing = hardware.study(samples.RUNS["hardware, layers not measured"])
    assert hardware.what_ifs(nothing).reading == "No prediction could be checked in this run."


def test_layers_stand_with_their_share_and_bound() -> None:
    """Half of the arithmetic's roof, 10 of 20,000 µs of L2's, half of memory's; the layers add up to 60 of 63 ms."""
    said = hardware.study(samples.hardware_run())
    table = hardware.layer_table(said)
    shares = {r["layer"]: (r["time"], r["of attainable"], r["bound"]) for r in table.frame.to_dict("records")}
    assert shares == {
        "conv1": ("20.0 ms", "50 %", "compute"),
        "pool1": ("20.0 ms", "0 %", "instructions"),
        "linear1": ("20.0 ms", "50 %", "bandwidth"),
    }
    assert table.reading == "The small network (batch 1 on 4 threads): sum 60.0 ms, whole 63.0 ms."
    assert "The most time is lost in pool1: 20.0 ms above the hardware's limit." in hardware.layer_times(said).reading


def test_growth_is_read_as_an_exponent() -> None:
    """Time that quadruples where the side doubles grows with its square."""
    reading = hardware.growth(hardware.study(samples.hardware_run())).reading
    assert reading.startswith(
        "The small network, 10 to 40 pixels of an image's side: time grows 16.0×, as the size to the power 2.00 "
        "(2.00–2.00); every point is within 1 % of that line."
    )


def test_summary_of_hardware_has_the_promised_names() -> None:
    """GEMM by precision and threads, memory bandwidth, usable CPUs, scaling, the fitted serial fraction."""
    figures = samples.hardware_run().summary
    assert (figures["gemm_gflops[fp32,t4]"].value, figures["gemm_gflops[int8,t4]"].value) == (100.0, 40.0)
    assert (figures["memory_gb_s"].value, figures["memory_gb_s"].unit) == (20.0, "GB/s")
    assert figures["usable_cpus"].value == 4
    assert figures["scaling_speedup[4]"].value == pytest.approx(1 / (0.1 + 0.9 / 4))
    assert figures["serial_fraction"].value == pytest.approx(0.1)
    assert (figures["bound[cnn-small]"].value, figures["bound[forest]"].value) == ("compute", "instructions")
    assert figures["roofline_share[forest,b10000,t4]"].value == pytest.approx(0.182, abs=0.001)  # 10 of 55 ms: calls
    assert figures["growth_exponent[image side]"].value == pytest.approx(2.0)
    assert figures["whatif_predicted[forest,b10000,t1,threads_1->4]"].value == pytest.approx(0.11 / 0.035, rel=0.001)
    assert figures["whatif_measured[forest,b10000,t1,threads_1->4]"].value == pytest.approx(2.0)


def test_the_memory_roof_is_what_loads_and_stores_reach() -> None:
    """Triad's 20 of 1 GiB is the roof; copy's 30 bypass the caches, which is said only where triad is outrun."""
    run = samples.hardware_run()
    view = hardware.bandwidth(hardware.study(run))
    assert view.reading == (
        "With 1.1 GB (RAM) on 4 threads, in GB/s: triad 20.0, read 16.0 and copy 30.0. The memory bandwidth is that of "
        "triad, the faster of read and triad. Copy is faster because its non-temporal stores bypass the caches and "
        "spare reading what they overwrite. A kernel that reads, or stores as usual, cannot reach that."
    )
    ringed = view.frame[view.frame["mark"]]
    assert ringed[["panel", "label", "x", "y"]].values.tolist() == [["4 threads", "triad", 1 << 30, 20.0]]
    limits = run.tables["limits"]
    usual = [row for row in limits["bandwidth"] if row["operation"] != "copy"]
    usual += [{**row, "operation": "copy", "limit": {"value": 22.0}} for row in usual if row["level"] == "RAM"]
    slower = replace(run, tables={**run.tables, "limits": {**limits, "bandwidth": usual}})
    assert "Copy" not in hardware.bandwidth(hardware.study(slower)).reading
    held = replace(run, tables={**run.tables, "limits": {**limits, "memory": {**limits["memory"], "level": "L3"}}})
    assert "(L3) on 4 threads, in GB/s:" in hardware.bandwidth(hardware.study(held)).reading
    assert "L3 can hold that much: memory itself may be slower." in hardware.bandwidth(hardware.study(held)).reading


def test_points_of_one_name_that_lie_together_share_it() -> None:
    """conv1 of two networks at 10 and 20 FLOP a byte has one name; each has its own where speeds are far apart."""

    def names(flops_per_s: float) -> list[str]:
        points = [("conv1", "small", 10.0, 1e9), ("conv1", "medium", 20.0, flops_per_s), ("pool", "small", 10.0, 1e9)]
        frame = pd.DataFrame(points, columns=["label", "group", "intensity", "flops_per_s"])
        frame.attrs = {"peak": 1e11, "peak_says": "peak", "levels": [(1e9, "RAM")], "x": "x", "y": "y"}
        axes = Figure().subplots()
        roofs(frame, [axes])
        return sorted(text.get_text() for text in axes.texts)

    assert names(2e9) == ["conv1", "pool"]
    assert names(9e9) == ["conv1", "conv1", "pool"]


def test_speedups_of_earlier_runs_are_still_said() -> None:
    """Runs of version 0.1 hold pools; later ones name the page that measures them. Failed pools say nothing."""

    def reading(name: str) -> str:
        return hardware.process_table(hardware.study(samples.RUNS[name])).reading

    assert "Speedup of the forest over one process: 2 processes 1.82× (1.82–1.82)" in reading("hardware")
    assert reading("hardware, all failed").endswith(
        "The page of cpu_multiprocess measures how throughput scales with processes."
    )


def test_wrong_outputs_are_in_no_fit_and_under_no_roof() -> None:
    """A pool of 4 that answers wrongly in 10 ms neither scales nor is placed."""
    said = hardware.study(samples.RUNS["hardware, wrong outputs"])
    assert (said.networks, said.forests) == ((), ())
    assert "2 processes 1.82×" in hardware.process_table(said).reading
    assert "4 processes" not in hardware.process_table(said).reading


def test_slowest_start_is_named() -> None:
    """Spawn with torch takes the longest, 1.4 s; without a start that was measured none is."""
    run = samples.hardware_run()
    table = hardware.process_table(hardware.study(run))
    assert table.reading.startswith("The slowest is to start by spawn, importing torch: 1.40 s.")
    tables = {**run.tables, "limits": {**run.tables["limits"], "process_start": []}}
    assert "slowest" not in hardware.process_table(hardware.study(replace(run, tables=tables))).reading


def test_loads_and_a_device_stand_beside_processes() -> None:
    """The latency of a load has a row for each working set; a device is read out, and so is what was not measured."""
    run = samples.hardware_run()
    limit = {"value": 2e-9, "low": 2e-9, "high": 3e-9}
    rate = {"value": 40.0, "low": 39.0, "high": 40.0}
    more = {
        "latency": [{"working_set_bytes": 16_000, "level": "L1d", "limit": limit}],
        "not_measured": {"load latency: RAM": "the budget did not reach it"},
        "device": {
            "device": "cuda",
            "launch": {"value": 5e-6, "low": 5e-6, "high": 6e-6},
            "memory_copy": rate,
            "gemm": [{"dtype": "fp32", "limit": rate}],
            "transfers": [
                {"direction": "host to device", "is_pinned": True, "size_bytes": 1_000_000, "limit": rate},
            ],
        },
    }
    limits = {**run.tables["limits"], **more}
    table = hardware.process_table(hardware.study(replace(run, tables={**run.tables, "limits": limits})))
    assert table.frame.iloc[-2].to_dict() == {
        "what": "one dependent load from 16.0 kB (L1d)",
        "cost": "2.00 ns",
        "repeats": "2.00–3.00 ns",
    }
    assert table.frame.iloc[-1]["what"] == "one launch on cuda"
    assert (
        "cuda multiplies at fp32 40.0 GFLOP/s, copies its own memory at 40.0 GB/s, and moves host to device, pinned, "
        "1.0 MB: 40.0 GB/s. Not measured: load latency: RAM (the budget did not reach it)."
    ) in table.reading


def test_the_first_card_is_of_the_way_to_use() -> None:
    """The figure that stands first is that of the way which the verdict recommends, on the front page too."""
    said = multiprocess.study(samples.multiprocess())
    answer = multiprocess.answer(said)
    assert answer.verdict.startswith("Set n_jobs=4: ")
    assert answer.cards[0].label == "speedup of scikit-learn threads"
