-- verdict_pairs.sql: two judges' verdicts on the same responses, of one run or of two.
-- In: $run_id and $judge, whose verdicts are looked at; $of_run_id and $of_judge (NULL: that run's deciding judge), with
-- whose they are compared. Out: one row per response that both judged: prompt_id, response_id, before (the other's),
-- after (this one's); NULL: undecided.
SELECT one.prompt_id, one.response_id, other.passed AS before, one.passed AS after
FROM verdicts AS one
JOIN verdicts AS other USING (response_id)
WHERE one.run_id = $run_id AND one.judge = $judge AND other.run_id = $of_run_id
  AND CASE WHEN $of_judge IS NULL THEN other.decides ELSE other.judge = $of_judge END
ORDER BY one.prompt_id, one.response_id;
