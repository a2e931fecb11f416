-- answers.sql: sampled answers with a judge's assessment; pairings and training sets choose among them.
-- In: runs, prompts (NULL: all of theirs), and the name of a judge or of a stage that compares or checks claims (NULL: the
-- deciding judge and all such stages). Out: one row per sampled response that has a text. points, value, passed, win_rate,
-- support (view claim_scores): NULL if unknown; flaw: NULL if it has none, as an answer that is preferred or imitated must.
CREATE TEMP MACRO answers_of_runs(of_runs, of_prompts, by_judge) AS TABLE
  WITH said AS (
    SELECT run_id, response_id, judge, points, value, passed
    FROM verdicts
    WHERE list_contains(of_runs, run_id) AND coalesce(list_contains(of_prompts, prompt_id), true)
      AND CASE WHEN by_judge IS NULL THEN decides ELSE judge = by_judge END
  ), won AS (
    SELECT run_id, response_id, avg(win_rate) AS win_rate
    FROM win_rates
    WHERE list_contains(of_runs, run_id) AND coalesce(list_contains(of_prompts, prompt_id), true)
      AND (by_judge IS NULL OR stage = by_judge)
    GROUP BY run_id, response_id
  ), checked AS (
    SELECT run_id, response_id, avg(support) AS support
    FROM claim_scores
    WHERE list_contains(of_runs, run_id) AND coalesce(list_contains(of_prompts, prompt_id), true)
      AND (by_judge IS NULL OR stage = by_judge)
    GROUP BY run_id, response_id
  )
  SELECT r.run_id, r.prompt_id, r.response_id, r.stage, r.model_id, r.tokens, r.finish_reason, r.flaw, judge, points, value,
    passed, win_rate, support
  FROM responses AS r
  LEFT JOIN said USING (run_id, response_id)
  LEFT JOIN won USING (run_id, response_id)
  LEFT JOIN checked USING (run_id, response_id)
  WHERE kind = 'sampled' AND r.flaw IS DISTINCT FROM 'empty' AND list_contains(of_runs, r.run_id) AND coalesce(list_contains(of_prompts, r.prompt_id), true);
CREATE TEMP MACRO answers(of_run, of_prompts, by_judge) AS TABLE
  FROM answers_of_runs([of_run], of_prompts, by_judge);
CREATE TEMP MACRO ranked_answers(of_runs, of_prompts, by_judge) AS TABLE
  -- rank: points, else value, else win_rate, else support: one measure per prompt, never mixed; answers without it are left out.
  -- value: the judge's or, if win rates or claims rank, the win rate or support.
  SELECT * EXCLUDE (measure) REPLACE (CASE measure WHEN 2 THEN win_rate WHEN 1 THEN support ELSE value END AS value),
    CASE measure WHEN 4 THEN points WHEN 3 THEN value WHEN 2 THEN win_rate ELSE support END AS rank
  FROM (
    SELECT *, max(CASE WHEN points IS NOT NULL THEN 4 WHEN value IS NOT NULL THEN 3 WHEN win_rate IS NOT NULL THEN 2 ELSE 1 END)
      OVER (PARTITION BY run_id, prompt_id) AS measure
    FROM answers_of_runs(of_runs, of_prompts, by_judge)
  )
  WHERE rank IS NOT NULL;
