-- sides.sql: the responses behind each row of a training set, and who wrote them.
-- In: the set's rows as `audited` (row, id, pair_id, response_id, prompt_id, run_id). Out: one row per row, in order; NULL: unknown.
WITH sides AS MATERIALIZED (
  SELECT a.row, a.id, a.prompt_id, a.run_id, coalesce(p.chosen_response_id, a.response_id) AS chosen_response_id,
    p.rejected_response_id, p.chosen_value, p.rejected_value, p.similarity
  FROM audited AS a
  LEFT JOIN pairs AS p USING (pair_id)
), wanted AS (
  SELECT chosen_response_id AS response_id FROM sides UNION SELECT rejected_response_id FROM sides
), known AS MATERIALIZED (
  SELECT response_id, r.kind, r.finish_reason, r.flaw, m.name AS model
  FROM responses AS r
  JOIN wanted USING (response_id)
  LEFT JOIN models AS m USING (model_id)
)
SELECT s.row, s.id, s.prompt_id, s.run_id, chosen_response_id, rejected_response_id, chosen_value, rejected_value, similarity,
  chosen.model AS chosen_model, rejected.model AS rejected_model,
  chosen.finish_reason AS chosen_finish_reason, chosen.flaw AS chosen_flaw,
  CASE WHEN chosen.kind NOT IN ('imported', 'edited') THEN true END AS chosen_flaw_known  -- these are not looked at for flaws
FROM sides AS s
LEFT JOIN known AS chosen ON chosen.response_id = chosen_response_id
LEFT JOIN known AS rejected ON rejected.response_id = rejected_response_id
ORDER BY s.row;
