-- paid_answers.sql: the answers that an online training paid most and least. In: $run_id; $most, how many of each.
-- Out: one row per answer, the best paid first: its stage, reward, prompt, text, tokens and flaw.
WITH ranked AS (
  SELECT response_id, stage, reward, row_number() OVER (ORDER BY reward DESC, response_id) AS place, count(*) OVER () AS paid
  FROM rewards
  WHERE run_id = $run_id AND reward IS NOT NULL
), ends AS (
  FROM ranked WHERE place <= $most OR place > paid - $most
)
SELECT ends.stage, reward, prompt_id, text, tokens, flaw
FROM ends
JOIN (SELECT response_id, prompt_id, text, tokens, flaw FROM responses WHERE run_id = $run_id) USING (response_id)
ORDER BY place;
