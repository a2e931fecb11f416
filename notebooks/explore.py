"""Explores a lake with DuckDB and polars: runs, acceptance, likeness, a tree, pairs by suspicion, drift.

    marimo edit notebooks/explore.py -- --lake ./lake     # or FACTORY_LAKE; `marimo run` shows it without the code
    python notebooks/explore.py --lake ./lake             # runs it once, without a browser

Needs `pip install 'preference-factory[notebook]'`. The lake is opened so that nothing can be written to it.
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="A lake")


@app.cell
def _():
    import os

    import marimo as mo
    import polars as pl

    from factory.monitor.plain_text import label, visible
    from stores.lake import Lake

    return Lake, label, mo, os, pl, visible


@app.cell
def _(Lake, mo, os):
    where = str(mo.cli_args().get("lake") or os.environ.get("FACTORY_LAKE", "lake"))
    lake = Lake.open(where, read_only=True)
    connection = lake.connection
    return connection, where


@app.cell
def _(mo, visible, where):
    mo.vstack([mo.md("# A lake"), mo.plain_text(visible(where))])
    return


@app.cell
def _(label, pl, visible):
    def shown(table):
        """A table whose texts hide nothing and fetch nothing: they were written by models.

        marimo shows an address in a cell as a link, or loads it as a picture; with a space in it, it does neither.
        """
        plain = pl.col(pl.String).map_elements(visible, return_dtype=pl.String)
        return table.with_columns(plain.str.replace_all(r"(?i)(https?:|data:)(//|image)", "$1 $2"))

    def plot(table, x, y, kind, by=None):
        """An SVG of two columns, made here and without a script."""
        import lets_plot as lp

        columns = {
            name: [label(value) if isinstance(value, str) else value for value in table[name].to_list()]
            for name in table.columns
        }
        mapped = lp.aes(x, y, fill=by, color=by, group=by) if by else lp.aes(x, y)
        drawn = lp.geom_bar(stat="identity", width=0.6) if kind == "bar" else lp.geom_point(size=3)
        if kind == "line" and table[x].n_unique() > 1:
            drawn = lp.geom_line() + drawn
        return (lp.ggplot(columns, mapped) + drawn + lp.ggsize(720, 260) + lp.theme_light()).to_svg()

    return plot, shown


@app.cell
def _(mo):
    mo.md(
        """
        ## Runs

        How far each run is, and what it asked of its models.
        """
    )
    return


@app.cell
def _(connection, mo):
    runs = mo.sql(
        """
        SELECT r.run_id, r.recipe_name, r.purpose, r.started_at, p.status, p.prompts, p.answered, p.failing, p.trees,
          p.accepted, round(p.accepted / nullif(p.trees, 0), 3) AS acceptance, c.calls, c.tokens
        FROM current_runs AS r
        JOIN run_progress AS p USING (run_id)
        LEFT JOIN (
          SELECT run_id, sum(calls)::BIGINT AS calls, sum(prompt_tokens + completion_tokens)::BIGINT AS tokens
          FROM run_cost GROUP BY run_id
        ) AS c USING (run_id)
        ORDER BY r.started_at, r.run_id
        """,
        output=False,
        engine=connection,
    )
    return (runs,)


@app.cell
def _(mo, runs, shown):
    mo.ui.table(shown(runs), selection=None)
    return


@app.cell
def _(mo):
    mo.md(
        """
        ## Acceptance

        The share of trees in which a refinement was accepted, by run.
        """
    )
    return


@app.cell
def _(mo, pl, plot, runs):
    acceptance = runs.filter(pl.col("trees") > 0).select("run_id", "acceptance")
    mo.Html(plot(acceptance, "run_id", "acceptance", "bar")) if acceptance.height else mo.md("No run has a tree yet.")
    return (acceptance,)


@app.cell
def _(mo):
    mo.md(
        """
        ## Likeness

        Word-level similarity of chosen and rejected, in tenths, by the pairing that made the pairs.
        """
    )
    return


@app.cell
def _(connection, mo):
    pairs = mo.sql(
        """
        SELECT p.pair_id, p.run_id, p.source, p.similarity, p.length_ratio, p.chosen_value, p.rejected_value,
          c.length_gap, c.constraint_gap, chosen.text AS chosen, rejected.text AS rejected, chosen.flaw,
          v.yes_votes > 0 AND v.no_votes > 0 AS judges_disagree
        FROM pairs AS p
        JOIN pair_contrast AS c USING (pair_id)
        JOIN responses AS chosen ON chosen.response_id = p.chosen_response_id
        JOIN responses AS rejected ON rejected.response_id = p.rejected_response_id
        LEFT JOIN (
          SELECT run_id, response_id, sum(yes_votes) AS yes_votes, sum(no_votes) AS no_votes FROM verdicts GROUP BY ALL
        ) AS v ON v.run_id = p.run_id AND v.response_id = p.chosen_response_id
        ORDER BY p.pair_id
        """,
        output=False,
        engine=connection,
    )
    return (pairs,)


@app.cell
def _(mo, pairs, pl, plot):
    likeness = (
        pairs.with_columns(similarity=(pl.col("similarity") * 10).floor().clip(0, 9) / 10)
        .group_by("source", "similarity")
        .len("pairs")
        .sort("source", "similarity")
    )
    mo.Html(plot(likeness, "similarity", "pairs", "bar", "source")) if likeness.height else mo.md("No pair yet.")
    return (likeness,)


@app.cell
def _(mo):
    mo.md(
        """
        ## A tree

        Nodes in the order of their expansion; the texts are the refinements.
        """
    )
    return


@app.cell
def _(connection, mo):
    trees = mo.sql(
        """
        SELECT tree_id, run_id, outcome, nodes_expanded FROM trees ORDER BY nodes_expanded DESC, tree_id LIMIT 1000
        """,
        output=False,
        engine=connection,
    )
    return (trees,)


@app.cell
def _(mo, trees):
    ids = trees["tree_id"].to_list()
    tree = mo.ui.dropdown(ids, value=ids[0] if ids else None, label="tree")
    tree
    return (tree,)


@app.cell
def _(connection, tree):
    # Bound, not pasted in: an id comes from the lake.
    nodes = connection.execute(
        """
        SELECT n.visit, repeat('· ', n.depth) || n.state AS state, n.value, n.flaw, r.text, n.node_id, n.parent_node_id
        FROM nodes AS n
        LEFT JOIN responses AS r USING (response_id)
        WHERE n.tree_id = $tree
        ORDER BY n.visit, n.node_id
        """,
        {"tree": tree.value},
    ).pl()
    return (nodes,)


@app.cell
def _(mo, nodes, shown):
    mo.ui.table(shown(nodes), selection=None, wrapped_columns=["text"])
    return


@app.cell
def _(mo):
    mo.md(
        """
        ## Pairs by suspicion

        A sign each: the chosen answer is half as long again, it has a flaw, its judges disagree, the sides are hardly
        alike, or the values are no further apart than a tenth. `factory pair ID` shows one whole.
        """
    )
    return


@app.cell
def _(mo, pairs, pl, shown):
    signs = {
        "longer": pl.col("length_ratio") > 1.5,
        "flawed": pl.col("flaw").is_not_null(),
        "disagreed": pl.col("judges_disagree"),
        "unlike": pl.col("similarity") < 0.2,
        "close": pl.col("chosen_value") - pl.col("rejected_value") <= 0.1,
    }
    suspicious = (
        pairs.with_columns(sign.fill_null(False).alias(name) for name, sign in signs.items())
        .with_columns(signs=pl.sum_horizontal(*signs))
        .filter(pl.col("signs") > 0)
        .sort(["signs", "similarity", "pair_id"], descending=[True, False, False])
    )
    columns = [
        "pair_id",
        "signs",
        *signs,
        "similarity",
        "length_gap",
        "chosen_value",
        "rejected_value",
        "chosen",
        "rejected",
    ]
    mo.ui.table(shown(suspicious.select(columns)), selection=None, wrapped_columns=["chosen", "rejected"])
    return (suspicious,)


@app.cell
def _(mo):
    mo.md(
        """
        ## Drift

        What tends to change from round to round of self-play, for each run made for data.
        """
    )
    return


@app.cell
def _(connection, mo):
    drift = mo.sql(
        """
        SELECT d.* FROM drift AS d JOIN current_runs USING (run_id) ORDER BY started_at, run_id
        """,
        output=False,
        engine=connection,
    )
    return (drift,)


@app.cell
def _(drift, mo, pl, plot, shown):
    measured = [
        name for name in ("share_with_pair", "similarity", "diversity", "judge_agreement") if name in drift.columns
    ]
    long = (
        drift.unpivot(on=measured, index="run_id", variable_name="figure")
        .drop_nulls()
        .with_columns(pl.col("value").cast(pl.Float64))
    )
    mo.vstack(
        [
            mo.Html(plot(long, "run_id", "value", "line", "figure"))
            if long.height
            else mo.md("Nothing to measure yet."),
            mo.ui.table(shown(drift), selection=None),
        ]
    )
    return


if __name__ == "__main__":
    app.run()
