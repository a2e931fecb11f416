-- refinements.sql: each failed answer that was refined, and its refinement: the accepted one, else the first.
-- In: $run_id. Out: one row per tree whose requests were all answered: tree_id, failed (text), response_id, refined (text;
-- NULL: not readable), flaw, passed (by the deciding judge of the run; NULL: undecided).
SELECT t.tree_id, root.text AS failed, n.response_id, r.text AS refined, n.flaw, v.passed
FROM trees AS t
JOIN responses AS root ON root.response_id = t.root_response_id
LEFT JOIN nodes AS n ON n.tree_id = t.tree_id
  AND CASE WHEN t.accepted_node_id IS NULL THEN n.visit = 1 ELSE n.node_id = t.accepted_node_id END
LEFT JOIN responses AS r ON r.response_id = n.response_id
LEFT JOIN verdicts AS v ON v.run_id = t.run_id AND v.response_id = n.judged_response_id AND v.decides
WHERE t.run_id = $run_id AND t.error IS NULL
ORDER BY t.tree_id;
