-- A pair's lineage: prompt, texts, and the votes on the chosen one. In: $pair VARCHAR = ''.
SELECT p.pair_id, prompts.messages, rejected.text AS rejected, chosen.text AS chosen, votes.judge, votes.verdict, votes.critique
FROM pairs AS p
JOIN prompts USING (prompt_id)
JOIN responses AS chosen ON chosen.response_id = p.chosen_response_id
JOIN responses AS rejected ON rejected.response_id = p.rejected_response_id
LEFT JOIN judgements AS votes ON votes.response_id = p.chosen_response_id
WHERE starts_with(p.pair_id, $pair)
ORDER BY p.pair_id, votes.judge, votes.vote
LIMIT 200;
