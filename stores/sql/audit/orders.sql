-- orders.sql: comparisons, in both orders, of answers to the prompts of a training set.
-- In: the set's rows as `audited`. Out: one row per stage and two answers; one, other: the probability that the answer shown
-- first is better, in either order; id: a row of that prompt.
SELECT a.id, c.first_response_id, c.second_response_id, c.stage, c.probability AS one, back.probability AS other
FROM comparisons AS c
JOIN comparisons AS back ON back.run_id = c.run_id AND back.stage = c.stage
  AND back.first_response_id = c.second_response_id AND back.second_response_id = c.first_response_id
JOIN (SELECT prompt_id, min(id) AS id FROM audited GROUP BY prompt_id) AS a ON a.prompt_id = c.prompt_id
WHERE c.first_response_id < c.second_response_id AND c.probability IS NOT NULL AND back.probability IS NOT NULL
ORDER BY c.first_response_id, c.second_response_id, c.stage;
