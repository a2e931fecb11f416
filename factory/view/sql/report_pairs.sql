-- report_pairs.sql: pairs of a run that show its range of likeness. In: $run_id, $pairs. Out: at most $pairs rows, the most
-- alike first: with both texts.
WITH ranked AS (
  SELECT pair_id, row_number() OVER (ORDER BY similarity DESC, pair_id) AS place, count(*) OVER () AS pairs
  FROM pairs
  WHERE run_id = $run_id
), picked AS (
  SELECT pair_id, place
  FROM ranked
  WHERE place IN (SELECT 1 + (i * (pairs - 1)) // greatest($pairs - 1, 1) FROM range($pairs) AS t(i))
)
SELECT p.pair_id, p.source, p.similarity, p.length_ratio, p.chosen_value, p.rejected_value, p.tree_id,
  conversation(q.messages) AS prompt, chosen.text AS chosen, rejected.text AS rejected
FROM picked
JOIN pairs AS p USING (pair_id)
JOIN prompts AS q ON q.prompt_id = p.prompt_id
JOIN responses AS chosen ON chosen.response_id = p.chosen_response_id
JOIN responses AS rejected ON rejected.response_id = p.rejected_response_id
ORDER BY picked.place;
