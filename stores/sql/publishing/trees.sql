-- trees.sql: the tree searches for a training set's prompts. In: its rows as `published`, $runs VARCHAR[].
-- Out: one row per strategy: trees, refinements that were asked for, trees that were accepted.
SELECT strategy, count(*) AS trees, sum(nodes_expanded)::BIGINT AS refinements, count(*) FILTER (outcome = 'accepted') AS accepted
FROM trees
WHERE list_contains($runs, run_id) AND prompt_id IN (SELECT prompt_id FROM published)
GROUP BY strategy
ORDER BY strategy;
