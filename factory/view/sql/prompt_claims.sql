-- prompt_claims.sql: the claims that answers to a prompt make. In: $prompt_id. Out: one row per claim, by answer, stage and
-- position, with the evidence that it was checked against and the model that checked it.
SELECT response_id, c.run_id, stage, method, position, text AS claim, question, support, evidence, m.name AS model, call_ids[-1] AS call_id
FROM (FROM claims WHERE prompt_id = $prompt_id) AS c
LEFT JOIN models AS m USING (model_id)
ORDER BY response_id, c.run_id, stage, position;
