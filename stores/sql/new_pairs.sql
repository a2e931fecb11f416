-- new_pairs.sql: a pairing's pairs that are not in the lake yet, with both texts. A flawed answer is not chosen, unless
-- its search accepts flawed ones; a response without a text is on neither side.
-- In: $run_id, $source, and the pairing's rows as `given`. Out: one row per new pair, in the order given.
WITH missing AS (
  SELECT DISTINCT ON (chosen_response_id, rejected_response_id) *
  FROM given
  ANTI JOIN (FROM pairs WHERE run_id = $run_id AND source = $source) USING (chosen_response_id, rejected_response_id)
  ORDER BY chosen_response_id, rejected_response_id
), sides AS MATERIALIZED (
  SELECT response_id, text, flaw
  FROM responses
  JOIN (SELECT chosen_response_id AS side FROM missing UNION SELECT rejected_response_id FROM missing) ON response_id = side
)
SELECT missing.*, chosen.text AS chosen, rejected.text AS rejected
FROM missing
JOIN sides AS chosen ON chosen.response_id = chosen_response_id
JOIN sides AS rejected ON rejected.response_id = rejected_response_id
WHERE (chosen.flaw IS NULL OR tree_id IN (FROM flawed_accepted))
  AND NOT is_blank(chosen.text) AND NOT is_blank(rejected.text)
ORDER BY prompt_id, chosen_response_id, rejected_response_id;
