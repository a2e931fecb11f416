-- compare_answers.sql: sampled answers to be compared. In: $run, $model, $prompt VARCHAR (each NULL: all), $limit BIGINT.
-- Out: one row per answer, by id: id, prompt_id, first (its text), second (NULL), value (of the deciding judge), similarity
-- (NULL).
WITH picked AS (
  SELECT response_id, run_id, prompt_id, text
  FROM responses
  WHERE kind IN ('sampled', 'imported') AND ($run IS NULL OR run_id = $run) AND ($model IS NULL OR model_id = $model)
    AND ($prompt IS NULL OR prompt_id = $prompt)
  ORDER BY response_id
  LIMIT $limit
), judged AS (
  SELECT response_id, avg(value) AS value
  FROM judgements
  WHERE decides AND response_id IN (SELECT response_id FROM picked)
  GROUP BY response_id
)
SELECT response_id AS id, prompt_id, text AS first, NULL::VARCHAR AS second, value, NULL::DOUBLE AS similarity
FROM picked
LEFT JOIN judged USING (response_id)
ORDER BY id;
