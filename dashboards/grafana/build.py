"""Makes the board: `python -m dashboards.grafana.build` writes `parle.json`."""

from pathlib import Path

from grafana_foundation_sdk.builders import common, stat, timeseries
from grafana_foundation_sdk.builders import prometheus as query
from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DatasourceVariable,
    QueryVariable,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    LegendDisplayMode,
    LegendPlacement,
    ScaleDistribution,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableRefresh

from dashboards.grafana.panels import PANELS, STAT, Panel

BOARD = Path(__file__).with_name("parle.json")
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
STAT_SPAN, LINES_SPAN = 6, 8
"""Of 24 columns."""


def build() -> str:
    """The board as JSON."""
    board = (
        Dashboard("Parle")
        .uid("parleDashboard")
        .description("Runs of parle_ray, by the metrics that their coordinators tell Ray.")
        .tags(["ray", "parle_ray"])
        .editable()
        .time("now-30m", "now")
        .refresh("10s")
        .with_variable(DatasourceVariable("datasource").label("Source").type("prometheus"))
        .with_variable(
            QueryVariable("run")
            .label("Run")
            .datasource(SOURCE)
            .query("label_values(ray_parle_round, run)")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .multi(True)
            .include_all(True)
        )
    )
    for number, panel in enumerate(PANELS, 1):
        make = _stat if panel.kind == STAT else _lines
        board = board.with_panel(make(panel, number))
    return JSONEncoder(sort_keys=True, indent=1).encode(board.build()) + "\n"


def _stat(panel: Panel, number: int) -> stat.Panel:
    """The last value, also of a run that has ended, whose series have too."""
    made = (
        stat.Panel()
        .id(number)
        .title(panel.title)
        .datasource(SOURCE)
        .unit(panel.unit)
        .graph_mode(BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .height(4)
        .span(STAT_SPAN)
    )
    for target in _targets(panel):
        made = made.with_target(target)
    return made


def _lines(panel: Panel, number: int) -> timeseries.Panel:
    made = (
        timeseries.Panel()
        .id(number)
        .title(panel.title)
        .datasource(SOURCE)
        .unit(panel.unit)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs([])
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .height(8)
        .span(LINES_SPAN)
    )
    if panel.log:
        log = common.ScaleDistributionConfig().type(ScaleDistribution.LOG).log(10)
        made = made.scale_distribution(log)
    for target in _targets(panel):
        made = made.with_target(target)
    return made


def _targets(panel: Panel) -> list[query.Dataquery]:
    return [
        query.Dataquery().expr(expression).legend_format(legend).ref_id(chr(ord("A") + i)).range()
        for i, (legend, expression) in enumerate(panel.queries.items())
    ]


def main() -> None:
    """Write the board."""
    BOARD.write_text(build())
    print(BOARD)


if __name__ == "__main__":
    main()
