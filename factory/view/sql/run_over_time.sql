-- run_over_time.sql: what a run asked over time. In: $run_id. Out: one row per part of its time (at most 48): started_at,
-- requests, tokens, seconds.
WITH asked AS (
  SELECT started_at, completion_tokens FROM calls WHERE run_id = $run_id AND NOT from_journal AND error IS NULL
), span AS (
  SELECT min(started_at) AS first, greatest(epoch(max(started_at) - min(started_at)), 1) / 48 AS seconds FROM asked
)
SELECT first + to_seconds(least(floor(epoch(started_at - first) / seconds), 47) * seconds) AS started_at,
  count(*) AS requests, sum(completion_tokens)::BIGINT AS tokens, any_value(seconds) AS seconds
FROM asked, span
GROUP BY ALL
ORDER BY started_at;
