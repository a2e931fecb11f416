-- drift.sql: what tends to drift from round to round of self-play, for each run.
-- Out: one row per run made for data. Shares and means are NULL where there is nothing to measure.
-- Pairs are those of the recipe's first pairing, as others are for comparison. share_with_pair: of the run's prompts.
-- value_gap: chosen - rejected. similarity: word-level edit similarity of the pairs. chosen_words, rejected_words,
-- answer_words: means. diversity: distinct-2 (arXiv:1510.03055), the share of distinct word pairs among all of one prompt's
-- sampled answers, over prompts with at least two. judge_agreement: of the model judges with the verifier, over responses
-- that both judged. judge_flips: compared pairs whose two orders disagree. unanimous: responses on which all votes agree, of
-- those with at least two readable votes.
CREATE TEMP VIEW drift AS
WITH first_pairing AS (
  SELECT run_id, coalesce(recipe->'pairs'->0->>'name', recipe->'pairs'->0->>'pairing', recipe->'pairs'->>0) AS first_source
  FROM current_runs
),
taken AS (SELECT run_id, count(*) AS prompts FROM run_prompts GROUP BY run_id),
spoken AS (
  SELECT response_id, run_id, prompt_id, kind, string_split_regex(trim(lower(text)), '\s+') AS words
  FROM responses WHERE NOT is_blank(text)
),
made AS (
  SELECT p.run_id, count(*) AS pairs, count(DISTINCT p.prompt_id) AS prompts_with_pair,
    avg(chosen_value - rejected_value) AS value_gap, avg(similarity) AS similarity,
    avg(len(chosen.words)) AS chosen_words, avg(len(rejected.words)) AS rejected_words
  FROM pairs AS p
  JOIN first_pairing AS f ON f.run_id = p.run_id AND p.source = coalesce(first_source, p.source)
  JOIN spoken AS chosen ON chosen.response_id = chosen_response_id
  JOIN spoken AS rejected ON rejected.response_id = rejected_response_id
  GROUP BY p.run_id
),
sampled AS (SELECT run_id, avg(len(words)) AS answer_words FROM spoken WHERE kind = 'sampled' GROUP BY run_id),
varied AS (
  SELECT run_id, avg(distinct_2) AS diversity
  FROM (
    SELECT run_id, prompt_id, count(DISTINCT two) / count(two) AS distinct_2
    FROM (
      SELECT run_id, prompt_id, response_id, unnest(list_zip(words[:-2], words[2:])) AS two
      FROM spoken WHERE kind = 'sampled' AND len(words) > 1
    )
    GROUP BY run_id, prompt_id
    HAVING count(DISTINCT response_id) > 1
  )
  GROUP BY run_id
),
agreed AS (
  SELECT run_id, sum(agreement * responses) / sum(responses) AS judge_agreement
  FROM judge_agreement WHERE (kind = 'verifier') <> (other_kind = 'verifier') AND agreement IS NOT NULL GROUP BY run_id
),
flipped AS (
  SELECT run_id, avg(flipped::DOUBLE) AS judge_flips
  FROM (
    SELECT run_id, min(coalesce(CASE WHEN first_response_id < second_response_id THEN probability ELSE 1 - probability END, 0.5)) < 0.5
        AND max(CASE WHEN first_response_id < second_response_id THEN probability ELSE 1 - probability END) > 0.5 AS flipped
    FROM comparisons
    GROUP BY run_id, prompt_id, stage, least(first_response_id, second_response_id), greatest(first_response_id, second_response_id)
    HAVING count(probability) = 2
  )
  GROUP BY run_id
),
united AS (
  SELECT run_id, avg(unanimous::DOUBLE) AS unanimous
  FROM verdicts WHERE kind = 'votes' AND yes_votes + no_votes > 1 GROUP BY run_id
)
SELECT run_id, prompts, coalesce(pairs, 0) AS pairs, coalesce(prompts_with_pair, 0) / nullif(prompts, 0) AS share_with_pair,
  value_gap, similarity, chosen_words, rejected_words, answer_words, diversity, judge_agreement, judge_flips, unanimous
FROM data_runs
LEFT JOIN taken USING (run_id)
LEFT JOIN made USING (run_id)
LEFT JOIN sampled USING (run_id)
LEFT JOIN varied USING (run_id)
LEFT JOIN agreed USING (run_id)
LEFT JOIN flipped USING (run_id)
LEFT JOIN united USING (run_id)
ORDER BY run_id;
