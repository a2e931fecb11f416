-- textless.sql: sampled answers without a text, by sampling stage and why.
-- In: $run_id. Out: one row per stage that has any, in order of stage.
SELECT coalesce(r.stage, 'sample') AS stage, count(*) AS answers,
  count(*) FILTER (flaw = 'empty' AND thought AND finish_reason = 'length') AS cut_thinking,
  count(*) FILTER (flaw = 'empty' AND thought AND finish_reason IS DISTINCT FROM 'length') AS only_thinking,
  count(*) FILTER (flaw = 'empty' AND NOT thought) AS other,
  arg_min(note, response_id) FILTER (flaw = 'empty' AND NOT thought) AS example
FROM responses AS r
LEFT JOIN (FROM calls WHERE run_id = $run_id) AS c USING (call_id),
  LATERAL (SELECT coalesce(c.reasonings[r.choice_index + 1] <> '', false) AS thought)
WHERE r.run_id = $run_id AND kind = 'sampled'
GROUP BY coalesce(r.stage, 'sample')
HAVING bool_or(flaw = 'empty')
ORDER BY stage;
