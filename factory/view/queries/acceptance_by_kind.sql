-- Searches accepted, by kind of constraint.
SELECT constraint_.id AS constraint_id, count(*) AS trees, avg((outcome = 'accepted')::INT) AS accepted,
  sum(nodes_expanded)::BIGINT AS refinements
FROM (SELECT prompt_id, outcome, nodes_expanded, unnest(constraints) AS constraint_ FROM trees JOIN prompts USING (prompt_id))
GROUP BY ALL
ORDER BY trees DESC, constraint_id;
