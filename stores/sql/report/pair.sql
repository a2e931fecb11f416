-- pair.sql: a pair with its prompt, both texts, and the critique the chosen text was refined from.
-- In: $pair_id. Out: one row.
SELECT p.*, conversation(q.messages) AS prompt, chosen.text AS chosen, rejected.text AS rejected
FROM pairs AS p
JOIN prompts AS q USING (prompt_id)
JOIN responses AS chosen ON chosen.response_id = p.chosen_response_id
JOIN responses AS rejected ON rejected.response_id = p.rejected_response_id
WHERE p.pair_id = $pair_id;
