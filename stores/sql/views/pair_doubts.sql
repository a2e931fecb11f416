-- pair_doubts.sql: what speaks against a pair, to look at the doubtful ones first. One row per pair.
-- longer: the chosen text has at least half as many words again; unlike: less than a fifth of the words are shared;
-- close: the judge's values of the two differ by less than 0.25; flawed: the chosen text has a flaw; disputed: a judge that
-- did not decide, one asked later (`factory judge --again`), or a comparison ranks the two the other way round.
-- doubts: how many of the five.
CREATE TEMP VIEW pair_doubts AS
WITH others AS (
  SELECT response_id, run_id, judge, avg(value) AS value
  FROM judgements
  WHERE NOT decides OR run_id IN (SELECT run_id FROM current_runs WHERE recipe->>'$.answers.run' IS NOT NULL)
  GROUP BY ALL
), disputed AS (
  SELECT pair_id
  FROM pairs
  JOIN others AS better ON better.response_id = chosen_response_id
  JOIN others AS worse ON worse.response_id = rejected_response_id AND worse.run_id = better.run_id AND worse.judge = better.judge
  WHERE better.value < worse.value
  UNION
  SELECT pair_id
  FROM pairs
  JOIN preferences ON response_id = least(chosen_response_id, rejected_response_id)
    AND other_response_id = greatest(chosen_response_id, rejected_response_id)
  WHERE if(response_id = chosen_response_id, probability, 1 - probability) < 0.5
), flawed AS (SELECT response_id FROM responses WHERE flaw IS NOT NULL)
SELECT *, longer::BIGINT + unlike::BIGINT + close::BIGINT + flawed::BIGINT + disputed::BIGINT AS doubts
FROM (
  SELECT pair_id, run_id, prompt_id, coalesce(length_ratio >= 1.5, true) AS longer, similarity < 0.2 AS unlike,
    coalesce(chosen_value - rejected_value < 0.25, false) AS close, chosen_response_id IN (FROM flawed) AS flawed,
    pair_id IN (FROM disputed) AS disputed
  FROM pairs
);
