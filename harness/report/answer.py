"""The study's answer in a sentence or two for each dataset, with what it does not show."""

from __future__ import annotations

import pandas as pd

from harness.report.computed import Computed
from harness.report.evidence import count, data_name, row_name
from harness.report.interval import mean_interval, of_patients, paired_cases
from harness.report.metrics import MetricStyle, metric_style
from harness.report.refusal import refusal_for
from harness.report.summary import MEAN_REGION
from harness.report.variants import Variant, datasets_of, regions_of, variants_of
from harness.results.schema import StudyResults

__all__ = ["answers"]


def answers(computed: Computed) -> list[str]:
    """One answer a dataset: which variant has the best mean, by how much, and whether that means anything."""
    return [_answer(computed, dataset) for dataset in datasets_of(computed.results)]


def _answer(computed: Computed, dataset: str) -> str:
    results = computed.results
    mixed = computed.mixing.sentence(dataset)
    if not computed.mixing.ranks(dataset):
        return f"On {data_name(results.datasets[dataset])}, no answer. {mixed}"
    style = metric_style(results.metrics[0])
    column = _column(computed.summary, dataset, style)
    variants = variants_of(results, dataset)
    left_out = [Variant(row["label"], row["leading"]) for row in column.to_dict("records") if not row["comparable"]]
    sentences = [_best(results, dataset, column, style)]
    best = column[column["mark"] == "best"]
    if len(best) == 1:
        winner = Variant(str(best["label"].iloc[0]), str(best["leading"].iloc[0]))
        sentences.extend(_margin(results, winner, variants, column, computed, dataset))
    if left_out:
        names = ", ".join(row_name(variant, variants) for variant in left_out)
        sentences.append(f"Left out, because results are missing: {names}.")
    if mixed:
        sentences.append(mixed)
    reason = refusal_for(results, dataset)
    if reason:
        sentences.append(f"{reason}, so this is an observation on these cases and not evidence for a better method.")
    return " ".join(sentences)


def _column(table: pd.DataFrame, dataset: str, style: MetricStyle) -> pd.DataFrame:
    wanted = (table["dataset"] == dataset) & (table["metric"] == style.name) & (table["region"] == MEAN_REGION)
    return table[wanted]


def _best(results: StudyResults, dataset: str, column: pd.DataFrame, style: MetricStyle) -> str:
    where = data_name(results.datasets[dataset])
    best = column[column["mark"] == "best"]
    if best.empty:
        return f"On {where}, no two variants have comparable results yet."
    variants = variants_of(results, dataset)
    pairs = zip(best["label"], best["leading"], strict=True)
    names = [row_name(Variant(str(label), str(leading)), variants) for label, leading in pairs]
    patients = count(int(best["n_patients"].iloc[0]), "patient")
    extreme = "highest" if style.higher_is_better else "lowest"
    over = ", mean over regions" if len(regions_of(results, dataset)) > 1 else ""
    return (
        f"On {where}, {' and '.join(names)} {'has' if len(names) == 1 else 'share'} the {extreme} {style.title}{over}: "
        f"{_spread(best.iloc[0], style)} ({count(int(best['n'].iloc[0]), 'case')} of {patients})."
    )


def _spread(row: pd.Series, style: MetricStyle) -> str:
    text = style.text(float(row["mean"]))
    return text if pd.isna(row["sd"]) else f"{text} ± {style.text(float(row['sd']))}"


def _margin(
    results: StudyResults,
    winner: Variant,
    variants: list[Variant],
    column: pd.DataFrame,
    computed: Computed,
    dataset: str,
) -> list[str]:
    """The winner against the reference or, where the reference wins, against the runners-up."""
    style = metric_style(results.metrics[0])
    deltas = _column(computed.deltas, dataset, style)
    if winner.label != results.reference:
        mine = deltas[(deltas["label"] == winner.label) & (deltas["leading"] == winner.leading) & deltas["comparable"]]
        if mine.empty:
            return []
        delta = _delta(computed, mine.iloc[0], style)
        return [f"Its mean paired difference to the reference {results.reference} is {delta}."]
    second = column[column["mark"] == "second"]
    pairs = {(str(label), str(leading)) for label, leading in zip(second["label"], second["leading"], strict=True)}
    behind = [
        f"{row_name(Variant(str(row['label']), str(row['leading'])), variants)} differs by "
        f"{_delta(computed, row, style)}"
        for _, row in deltas[deltas["comparable"]].iterrows()
        if (str(row["label"]), str(row["leading"])) in pairs and row["reference_leading"] == winner.leading
    ]
    return [f"It is the reference; next, {' and '.join(behind)} (mean paired difference)."] if behind else []


def _delta(computed: Computed, row: pd.Series, style: MetricStyle) -> str:
    mean, sd = float(row["mean"]), float(row["sd"])
    unit = f" {style.unit}" if style.unit else ""
    spread = "" if pd.isna(sd) else f" ± {style.text(sd)}"
    interval = mean_interval(of_patients(paired_cases(computed.cases, row)))
    sure = f" (95 % interval {style.signed(interval.low)} to {style.signed(interval.high)})" if interval else ""
    return f"{style.signed(mean)}{spread}{unit}{sure}"
