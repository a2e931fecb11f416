-- templates_of_rows.sql: the chat templates of the models that wrote the rows of a training set, as far as they are known.
-- In:  $run_ids VARCHAR[], $judgement_ids VARCHAR[]: each row's judgement; NULL, or another id: the row is a run's answer.
-- Out: one row per template, in order: chat_template_hash.
WITH written AS (SELECT unnest($judgement_ids::VARCHAR[]) AS judgement_id),
writers AS (
  SELECT model_id FROM judgements SEMI JOIN written USING (judgement_id)
  UNION
  SELECT model_id FROM responses
  WHERE list_contains($run_ids, run_id) AND EXISTS (FROM written ANTI JOIN judgements USING (judgement_id))
)
SELECT DISTINCT chat_template_hash
FROM models
SEMI JOIN writers USING (model_id)
WHERE chat_template_hash IS NOT NULL
ORDER BY ALL;
