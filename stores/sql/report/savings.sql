-- savings.sql: what a run's search took for a refined pair, and what was not asked for because it could change nothing.
-- In: $run_id. Out: one row; spared_refinements: siblings after the first accepted one (expansion eager); spared_votes:
-- those left when a verdict was settled (first_votes), of the answers and refinements that were judged.
WITH run AS (
  SELECT run_id, recipe ->> '$.stages.search.strategy' AS strategy, (recipe -> '$.stages.search.branch')::BIGINT AS branch,
    (recipe -> '$.stages.judge.votes')::BIGINT AS votes
  FROM current_runs
  WHERE run_id = $run_id
), mine AS (FROM nodes WHERE run_id = $run_id),
accepted AS (
  SELECT n.tree_id, n.parent_node_id, n.depth
  FROM trees AS t
  JOIN mine AS n ON n.node_id = t.accepted_node_id
  WHERE t.run_id = $run_id AND t.strategy <> 'best_of_n'
), last_level AS (
  -- In BFS the level of the accepted node, which all kept nodes of the level above were to fill; in DFS its siblings.
  SELECT a.tree_id, count(n.node_id) AS asked,
    any_value(CASE WHEN run.strategy = 'bfs' THEN (
      SELECT count(*) FROM mine AS p WHERE p.tree_id = a.tree_id AND p.depth = a.depth - 1 AND p.state = 'open'
    ) ELSE 1 END * run.branch) AS whole
  FROM accepted AS a, run
  JOIN mine AS n ON n.tree_id = a.tree_id AND n.depth = a.depth
    AND (run.strategy = 'bfs' OR n.parent_node_id = a.parent_node_id)
  GROUP BY a.tree_id
), cast_votes AS (
  SELECT response_id, count(*) AS votes FROM judgements WHERE run_id = $run_id AND judge = 'votes' GROUP BY response_id
), searching AS (
  SELECT count(*) AS requests, coalesce(sum(completion_tokens), 0)::BIGINT AS tokens
  FROM calls
  WHERE run_id = $run_id AND stage = 'search'
)
SELECT (SELECT count(*) FROM pairs WHERE run_id = $run_id AND source = 'tree') AS pairs, searching.*,
  (SELECT coalesce(sum(greatest(whole - asked, 0)), 0)::BIGINT FROM last_level) AS spared_refinements,
  (SELECT count(*) FROM mine WHERE depth > 0) AS refinements,
  (SELECT coalesce(sum(greatest(run.votes - c.votes, 0)), 0)::BIGINT FROM cast_votes AS c, run) AS spared_votes,
  (SELECT coalesce(sum(votes), 0)::BIGINT FROM cast_votes) AS votes
FROM searching, run
WHERE run.run_id = $run_id;
