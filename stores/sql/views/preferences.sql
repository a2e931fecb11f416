-- preferences.sql: which of two responses is better, averaged over both orders.
-- Out: one row per run, stage and two responses. probability: that `response_id` is better; NULL if unreadable in both orders.
CREATE TEMP VIEW preferences AS
SELECT run_id, prompt_id, stage, least(first_response_id, second_response_id) AS response_id,
  greatest(first_response_id, second_response_id) AS other_response_id,
  avg(CASE WHEN first_response_id < second_response_id THEN probability ELSE 1 - probability END) AS probability,
  count(probability) AS orders
FROM comparisons
GROUP BY ALL;
