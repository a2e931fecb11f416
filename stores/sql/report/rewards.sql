-- rewards.sql: what an online training paid over its steps. In: $run_id; $parts, into how many its steps are put together at most.
-- Out: one row per part, before training first, after it last: stage (of several steps the first and the last), answers, how
-- many of them were paid, and the mean, the lowest and the highest reward.
WITH paid AS (
  SELECT *, CASE WHEN step > 0 THEN (step - 1) * least($parts, steps) // steps ELSE step - 1 END AS part
  FROM (SELECT *, max(step) OVER () AS steps FROM rewards WHERE run_id = $run_id)
)
SELECT if(min(step) < max(step), concat('step ', min(step), ' to ', max(step)), any_value(stage)) AS stage, min(step) AS step,
  count(*) AS answers, count(reward) AS paid, avg(reward) AS mean, min(reward) AS lowest, max(reward) AS highest
FROM paid
GROUP BY part, if(step IS NULL, paid.stage, NULL)
ORDER BY part NULLS LAST, stage;
