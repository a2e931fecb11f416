-- corpus_counts.sql: what a few prompts have led to. In: $ids VARCHAR[]. Out: one row per prompt that has any: answers
-- (sampled or imported), trees, pairs.
SELECT prompt_id, sum(answers)::BIGINT AS answers, sum(trees)::BIGINT AS trees, sum(pairs)::BIGINT AS pairs
FROM (
  SELECT prompt_id, 1 AS answers, 0 AS trees, 0 AS pairs FROM responses WHERE kind IN ('sampled', 'imported')
  UNION ALL SELECT prompt_id, 0, 1, 0 FROM trees
  UNION ALL SELECT prompt_id, 0, 0, 1 FROM pairs
)
WHERE prompt_id IN (SELECT unnest($ids::VARCHAR[]))
GROUP BY prompt_id;
