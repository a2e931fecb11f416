-- savings.sql: what a run's search cost per accepted refinement, and what it skipped because it could change nothing.
-- In: $run_id. Out: one row; spared_refinements: siblings after the first accepted one (expansion eager); spared_votes:
-- votes left when a verdict was settled (first_votes), over all judged answers and refinements.
WITH mine AS (FROM nodes WHERE run_id = $run_id),
accepted AS (
  SELECT n.tree_id, n.parent_node_id, n.depth, t.strategy, (t.parameters ->> 'branch')::BIGINT AS branch
  FROM trees AS t
  JOIN mine AS n ON n.node_id = t.accepted_node_id
  WHERE t.run_id = $run_id AND t.strategy <> 'best_of_n'
), last_level AS (
  -- In BFS the accepted node's level, as all kept nodes of the level above would have filled it; in DFS its siblings.
  SELECT a.tree_id, count(n.node_id) AS asked,
    any_value(CASE WHEN a.strategy = 'bfs' THEN (
      SELECT count(*) FROM mine AS p WHERE p.tree_id = a.tree_id AND p.depth = a.depth - 1 AND p.state = 'open'
    ) ELSE 1 END * a.branch) AS whole
  FROM accepted AS a
  JOIN mine AS n ON n.tree_id = a.tree_id AND n.depth = a.depth
    AND (a.strategy = 'bfs' OR n.parent_node_id = a.parent_node_id)
  GROUP BY a.tree_id
), cast_votes AS (
  SELECT judge, response_id, count(*) AS votes
  FROM judgements
  WHERE run_id = $run_id AND kind = 'votes'
  GROUP BY judge, response_id
), rounds AS (
  -- Votes come in one round, or in two of which the first is larger; a tie is asked again in one round.
  SELECT judge, CASE count(DISTINCT choices) WHEN 2 THEN min(choices) + max(choices) ELSE max(choices) END AS planned
  FROM (SELECT DISTINCT judge, call_id FROM judgements WHERE run_id = $run_id AND kind = 'votes')
  JOIN calls USING (call_id)
  GROUP BY judge
), searching AS (
  SELECT count(*) AS requests, coalesce(sum(completion_tokens), 0)::BIGINT AS tokens
  FROM calls
  WHERE run_id = $run_id AND stage IN (SELECT stage FROM trees WHERE run_id = $run_id)
)
SELECT (SELECT count(*) FROM trees WHERE run_id = $run_id AND outcome = 'accepted') AS accepted, searching.*,
  (SELECT coalesce(sum(greatest(whole - asked, 0)), 0)::BIGINT FROM last_level) AS spared_refinements,
  (SELECT count(*) FROM mine WHERE depth > 0) AS refinements,
  (SELECT coalesce(sum(greatest(planned - votes, 0)), 0)::BIGINT FROM cast_votes JOIN rounds USING (judge)) AS spared_votes,
  (SELECT coalesce(sum(votes), 0)::BIGINT FROM cast_votes) AS votes
FROM searching
JOIN current_runs AS run ON true
WHERE run.run_id = $run_id;
