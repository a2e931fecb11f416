-- kinds_of_runs.sql: the kinds of constraints in the prompts that runs took, evolved ones too. In: $run_ids. Out: kind.
SELECT DISTINCT unnest(constraints).id AS kind
FROM run_prompts JOIN prompts USING (prompt_id)
WHERE list_contains($run_ids, run_id)
ORDER BY kind;
