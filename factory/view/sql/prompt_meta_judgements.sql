-- prompt_meta_judgements.sql: comparisons of the judgements of a prompt's answers. In: $prompt_id. Out: one row per comparison: the
-- response judged, both judgements in the order shown with their votes' numbers and points, the probability that the first is
-- better (NULL: not readable), who compared, and the call.
WITH judged AS (
  SELECT judgement_id, vote, points FROM judgements WHERE prompt_id = $prompt_id
)
SELECT m.run_id, m.stage, m.response_id, first_judgement_id, a.vote AS first_vote, a.points AS first_points, second_judgement_id,
  b.vote AS second_vote, b.points AS second_points, probability, name AS model, m.call_id
FROM (FROM meta_judgements WHERE prompt_id = $prompt_id) AS m
LEFT JOIN judged AS a ON a.judgement_id = first_judgement_id
LEFT JOIN judged AS b ON b.judgement_id = second_judgement_id
LEFT JOIN models USING (model_id)
ORDER BY m.run_id, m.stage, m.response_id, first_vote, second_vote, meta_judgement_id;
