-- judgement_pairs.sql: of each compared answer the judgement with the highest Elo over that with the lowest, as rows of a preference
-- training set (Meta-Rewarding, arXiv:2407.19594, 2.2). In: runs, the longest chosen judgement in characters (NULL: any), the
-- held-out share. Out: one row per run, stage and response whose highest and lowest differ: split, prompt (the judge's), chosen,
-- rejected, and lineage.
CREATE TEMP MACRO judgement_pairs(of_runs, most_characters, held_out) AS TABLE
  WITH rated AS (
    SELECT e.*, critique, template_hash
    FROM judgement_elo AS e
    JOIN judgements AS j USING (run_id, response_id, judgement_id)
    WHERE list_contains(of_runs, e.run_id)
  ),
  best AS (SELECT DISTINCT ON (run_id, stage, response_id) * FROM rated ORDER BY run_id, stage, response_id, elo DESC, judgement_id),
  worst AS (SELECT DISTINCT ON (run_id, stage, response_id) * FROM rated ORDER BY run_id, stage, response_id, elo, judgement_id)
  SELECT
    split_of(best.prompt_id, held_out) AS split,
    [user_turn(render(t.text, MAP {'prompt': conversation(q.messages), 'response': r.text, 'reference': q.reference}))] AS prompt,
    [assistant_turn(best.critique)] AS chosen,
    [assistant_turn(worst.critique)] AS rejected,
    'judgement' AS class,
    best.judgement_id AS chosen_judgement_id, worst.judgement_id AS rejected_judgement_id, best.elo AS chosen_elo,
    worst.elo AS rejected_elo, response_id, best.prompt_id, best.run_id
  FROM best
  JOIN worst USING (run_id, stage, response_id)
  JOIN responses AS r USING (response_id)
  JOIN prompts AS q ON q.prompt_id = best.prompt_id
  JOIN (SELECT DISTINCT run_id, hash AS template_hash, text FROM run_templates) AS t
    ON t.run_id = best.run_id AND t.template_hash = best.template_hash
  -- Equal but for rounding: nothing tells them apart.
  WHERE best.elo > worst.elo + 1e-6 AND best.critique <> worst.critique AND coalesce(length(best.critique) <= most_characters, true);
