-- meta_judge.sql: prompts with an answer of which several judgements, with texts of their own, have not been compared: with
-- $which = 'every' any such answer, else the first one. The first of $judges that has judged an answer gives the judgements.
-- In: $run_id, $stage, $judges, $which. Out: prompt_id, position, in order of position.
WITH given AS (
  SELECT prompt_id, response_id, judge, count(DISTINCT critique) FILTER (j.value IS NOT NULL) AS texts
  FROM judgements AS j
  JOIN (FROM responses WHERE run_id = $run_id AND kind = 'sampled' AND flaw IS DISTINCT FROM 'empty') AS r USING (prompt_id, response_id)
  WHERE j.run_id = $run_id AND list_contains($judges, judge)
  GROUP BY prompt_id, response_id, judge
  QUALIFY row_number() OVER (PARTITION BY response_id ORDER BY list_position($judges, judge)) = 1
), compared AS (
  SELECT DISTINCT prompt_id, response_id FROM meta_judgements WHERE run_id = $run_id AND stage = $stage
)
SELECT prompt_id, min(position) AS position
FROM (FROM given WHERE texts > 1)
JOIN (FROM run_prompts WHERE run_id = $run_id) USING (prompt_id)
WHERE CASE $which WHEN 'every' THEN response_id NOT IN (SELECT response_id FROM compared)
    ELSE prompt_id NOT IN (SELECT prompt_id FROM compared) END
  AND prompt_id NOT IN (SELECT prompt_id FROM failed_prompts WHERE run_id = $run_id)
GROUP BY prompt_id
ORDER BY position, prompt_id;
