-- accepted_pairs.sql: refined over failed, with both texts. One row per accepted tree: what reviewers wrote is not the search's.
CREATE TEMP VIEW accepted_pairs AS
SELECT p.run_id, p.pair_id, p.prompt_id, q.language, conversation(q.messages) AS prompt,
  chosen.text AS chosen, rejected.text AS rejected, p.chosen_value, p.rejected_value,
  p.similarity, p.length_ratio, p.shared_prefix_words, p.tree_id, p.node_id
FROM pairs AS p
JOIN prompts AS q USING (prompt_id)
JOIN responses AS chosen ON chosen.response_id = p.chosen_response_id
JOIN responses AS rejected ON rejected.response_id = p.rejected_response_id
WHERE p.source = 'refined_over_failed' AND chosen.kind <> 'edited';
