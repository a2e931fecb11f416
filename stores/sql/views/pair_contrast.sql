-- pair_contrast.sql: contrast and likeness of pairs as two columns, for training sets that choose by both:
-- WHERE similarity >= 0.6 AND constraint_gap >= 1.
-- Out of constraints_followed: one row per response that a checker has read: how many of its prompt's constraints it follows.
-- Out of pair_contrast: one row per pair. constraint_gap: constraints followed by chosen minus by rejected; NULL: unknown.
-- length_gap: words of chosen minus words of rejected, counted as in stores/likeness.py.
CREATE TEMP VIEW constraints_followed AS
SELECT response_id, max(followed) AS followed
FROM (
  SELECT response_id, count(*) FILTER (followed) AS followed FROM checks GROUP BY run_id, response_id
  UNION ALL
  -- The verifier's points are the share of the constraints that are followed.
  SELECT j.response_id, round(j.points * len(q.constraints))::BIGINT
  FROM judgements AS j
  JOIN prompts AS q USING (prompt_id)
  WHERE j.kind = 'verifier' AND j.points IS NOT NULL AND len(q.constraints) > 0
)
GROUP BY response_id;
CREATE TEMP MACRO words_in(given) AS
  len(regexp_extract_all(given, '[\x{3400}-\x{9fff}\x{3040}-\x{30ff}\x{ac00}-\x{d7af}]|[^\s\p{Z}\x{3400}-\x{9fff}\x{3040}-\x{30ff}\x{ac00}-\x{d7af}]+'));
CREATE TEMP VIEW pair_contrast AS
SELECT p.pair_id, p.run_id, p.prompt_id, p.similarity,
  better.followed - worse.followed AS constraint_gap,
  words_in(chosen.text) - words_in(rejected.text) AS length_gap
FROM pairs AS p
JOIN responses AS chosen ON chosen.response_id = p.chosen_response_id
JOIN responses AS rejected ON rejected.response_id = p.rejected_response_id
LEFT JOIN constraints_followed AS better ON better.response_id = p.chosen_response_id
LEFT JOIN constraints_followed AS worse ON worse.response_id = p.rejected_response_id;
