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
-- Breadth first, with whom it has met: a lake in which models descend from themselves ends, too.
met AS (
  SELECT model_id, 0 AS generation, [model_id] AS children, [model_id] AS known FROM models
  UNION ALL
  SELECT m.model_id, m.generation + 1, list(DISTINCT p.parent_id), list_concat(m.known, list(DISTINCT p.parent_id))
  FROM (SELECT model_id, generation, known, unnest(children) AS child FROM met) AS m
  JOIN parents AS p ON p.model_id = m.child
  WHERE NOT list_contains(m.known, p.parent_id)
  GROUP BY m.model_id, m.generation, m.known
),
line AS (
  SELECT model_id, 0 AS generation, model_id AS ancestor_id, 'itself' AS relation, NULL::VARCHAR AS training_run_id,
    NULL::VARCHAR AS training_set_id
  FROM models
  UNION
  SELECT m.model_id, m.generation + 1, p.parent_id, p.relation, p.training_run_id, p.training_set_id
  FROM (SELECT model_id, generation, unnest(children) AS child FROM met) AS m
  JOIN parents AS p ON p.model_id = m.child
  WHERE p.parent_id <> m.model_id
)
SELECT l.model_id, me.name AS model, l.generation, l.relation, l.ancestor_id, coalesce(a.name, l.ancestor_id) AS ancestor,
  l.training_run_id, s.name || '@' || s.version AS training_set, step.loop_id, step.round
FROM line AS l
JOIN models AS me ON me.model_id = l.model_id
LEFT JOIN models AS a ON a.model_id = l.ancestor_id
LEFT JOIN training_sets AS s ON s.training_set_id = l.training_set_id
LEFT JOIN loop_steps AS step ON step.training_run_id = l.training_run_id AND step.step = 'train' AND step.shared_from IS NULL
ORDER BY l.model_id, l.generation, l.relation DESC, l.ancestor_id;
