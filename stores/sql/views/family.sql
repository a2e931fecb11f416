-- family.sql: a model's whole ancestry. Out: one row per model and ancestor (itself at generation 0; its reference models,
-- too): what the ancestor is to its child (`as`), the training that made the child, its set, and the loop and round of it.
CREATE TEMP VIEW family AS
WITH RECURSIVE trained AS (
  SELECT m.model_id, t.training_run_id, t.training_set_id, t.objective, t.start_model_id, t.reference_model_id
  FROM models AS m JOIN training_runs AS t USING (training_run_id)
),
parents AS (
  SELECT model_id, start_model_id AS parent_id, 'start' AS relation, training_run_id, training_set_id FROM trained
  WHERE start_model_id IS NOT NULL
  UNION ALL
  SELECT model_id, reference_model_id, 'reference', training_run_id, training_set_id FROM trained
  WHERE reference_model_id IS NOT NULL AND reference_model_id IS DISTINCT FROM start_model_id
),
-- Each step of the line is found once, at its least generation: a lake in which models descend from themselves ends, too.
line(model_id, ancestor_id, relation, training_run_id, training_set_id, generation)
  USING KEY (model_id, ancestor_id, relation, training_run_id) AS (
  SELECT model_id, model_id, 'itself', NULL::VARCHAR, NULL::VARCHAR, 0 FROM models
  UNION
  SELECT l.model_id, p.parent_id, p.relation, p.training_run_id, any_value(p.training_set_id), min(l.generation) + 1
  FROM line AS l
  JOIN parents AS p ON p.model_id = l.ancestor_id
  ANTI JOIN recurring.line AS known ON known.model_id = l.model_id AND known.ancestor_id = p.parent_id
    AND known.relation = p.relation AND known.training_run_id = p.training_run_id
  WHERE p.parent_id <> l.model_id
  GROUP BY ALL
)
SELECT l.model_id, me.name AS model, l.generation, l.relation, l.ancestor_id, coalesce(a.name, l.ancestor_id) AS ancestor,
  l.training_run_id, s.name || '@' || s.version AS training_set, step.loop_id, step.round
FROM line AS l
JOIN models AS me ON me.model_id = l.model_id
LEFT JOIN models AS a ON a.model_id = l.ancestor_id
LEFT JOIN training_sets AS s ON s.training_set_id = l.training_set_id
LEFT JOIN loop_steps AS step ON step.training_run_id = l.training_run_id AND step.step = 'train' AND step.shared_from IS NULL
ORDER BY l.model_id, l.generation, l.relation DESC, l.ancestor_id;
