-- run_cost.sql: what a run asked of which model. In: $run_id.
SELECT stage, role, template, model, calls, from_journal, errors, retries, prompt_tokens, completion_tokens, cost
FROM run_cost
WHERE run_id = $run_id
ORDER BY stage, role, template, model;
