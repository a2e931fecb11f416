-- tree_head.sql: a search tree and where it stands. In: $tree_id. Out: at most one row; every column of `trees` but
-- run_id, recipe, round, templates and models (of its run's recipe, JSON), messages and constraints of its prompt; pair_id: the pair it gave.
SELECT t.* EXCLUDE (run_id), t.run_id, run.recipe_name AS recipe, run.iteration AS round, run.templates, run.recipe ->> 'models' AS models,
  q.messages, conversation(q.messages) AS prompt, q.constraints, q.language, p.pair_id, p.similarity
FROM (FROM trees WHERE tree_id = $tree_id) AS t
LEFT JOIN current_runs AS run ON run.run_id = t.run_id
LEFT JOIN prompts AS q ON q.prompt_id = t.prompt_id
LEFT JOIN (FROM pairs WHERE tree_id = $tree_id) AS p ON p.node_id = t.accepted_node_id
LIMIT 1;
