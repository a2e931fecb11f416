-- rewards.sql: what an online training paid the answers of its policy (docs/trainers.md).
-- Out: one row per answer of a run of purpose `training`: its stage; step: 0 before training, then 1, 2, ...; NULL after it
-- and for a stage that no training writes.
-- reward: the points of the reward model or the verifier; of another judge the mean of its values as [-1, 1], of a score of 1 to
-- 10 (points - 5.5) / 4.5 (RLAIF, arXiv:2309.00267); NULL if it could not be paid.
CREATE TEMP VIEW rewards AS
SELECT r.run_id, r.prompt_id, r.response_id, r.stage,
  CASE r.stage WHEN 'before' THEN 0 ELSE try_cast(regexp_extract(r.stage, '^step (\d{1,9})$', 1) AS BIGINT) END AS step, paid.reward
FROM responses AS r
LEFT JOIN (
  SELECT run_id, prompt_id, response_id, avg(if(kind IN ('reward_model', 'verifier'), points, 2 * value - 1)) AS reward FROM judgements GROUP BY ALL
) AS paid USING (run_id, prompt_id, response_id)
WHERE r.run_id IN (SELECT run_id FROM current_runs WHERE purpose = 'training');
