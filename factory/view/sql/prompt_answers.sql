-- prompt_answers.sql: the answers to a prompt, of all runs. In: $prompt_id. Out: one row per answer, by round and
-- run, sampled ones first and those of an online training by step: with its text, the tree it is in, and the reward it was paid.
SELECT r.response_id, r.run_id, run.iteration AS round, run.recipe_name AS recipe, run.purpose,
  r.stage, r.kind, r.text, m.name AS model, r.tokens,
  r.finish_reason, r.flaw, n.tree_id, n.node_id, n.visit, n.state, n.judged_response_id, paid.reward
FROM (FROM responses WHERE prompt_id = $prompt_id) AS r
LEFT JOIN models AS m USING (model_id)
LEFT JOIN (SELECT run_id, iteration, recipe_name, purpose, started_at FROM current_runs) AS run ON run.run_id = r.run_id
LEFT JOIN (
  SELECT response_id, judged_response_id, tree_id, node_id, visit, state FROM nodes WHERE prompt_id = $prompt_id
  QUALIFY row_number() OVER (PARTITION BY response_id ORDER BY tree_id, visit) = 1
) AS n ON n.response_id = r.response_id
LEFT JOIN (SELECT response_id, step, reward FROM rewards WHERE prompt_id = $prompt_id) AS paid ON paid.response_id = r.response_id
ORDER BY run.iteration, run.started_at, r.run_id, paid.step NULLS LAST, r.kind = 'sampled' DESC, n.tree_id NULLS FIRST, n.visit, r.choice_index,
  r.response_id;
