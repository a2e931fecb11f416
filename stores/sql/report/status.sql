-- status.sql: how far runs are, and what they have cost so far.
-- In: $run_id, the beginning of an id; $held, whether a run is using the lake; $now_s, seconds since 1970.
-- Out: one row per run. status: as in `runs`, or interrupted: marked running, but its process has ended.
-- since_s, until_s: of its newest start; requests: answered and paid for by this run; tokens: generated for them, NULL if the
-- endpoint told none; readings, unreadable: votes, scores, comparisons and refinements; tokens_per_s: over the last
-- minute if running, else over the newest start; cost: NULL without prices or tokens.
WITH state AS (
  SELECT run_id, epoch(started_at) AS since_s, epoch(ended_at) AS ended_s, recipe, reason,
    -- Only one run at a time uses a lake: the one started last.
    CASE WHEN status = 'running' AND NOT ($held AND started_at = max(started_at) FILTER (status = 'running') OVER ())
      THEN 'interrupted' ELSE status END AS status
  FROM current_runs
), attempt AS (
  SELECT run_id, min(epoch(started_at)) AS first_call_s,
    min(epoch(started_at)) FILTER (NOT from_journal) AS first_asked_s, max(epoch(started_at) + latency_s) AS last_answer_s
  FROM calls
  JOIN state USING (run_id)
  WHERE epoch(started_at) >= since_s
  GROUP BY run_id
), timed AS (
  SELECT state.*, first_call_s, coalesce(CASE WHEN status = 'running' THEN $now_s ELSE ended_s END, last_answer_s, since_s)
      AS until_s,
    greatest(first_asked_s, CASE WHEN status = 'running' THEN $now_s - 60 END) AS counted_from_s
  FROM state
  LEFT JOIN attempt USING (run_id)
), asked AS (
  SELECT run_id, count(*) FILTER (NOT from_journal AND error IS NULL) AS requests,
    count(*) FILTER (from_journal) AS from_journal, count(*) FILTER (error IS NOT NULL) AS failed,
    coalesce(sum(retries), 0)::BIGINT AS retries,
    CASE WHEN count(completion_tokens) FILTER (NOT from_journal) > 0 OR count(*) FILTER (NOT from_journal AND error IS NULL) = 0
      THEN coalesce(sum(completion_tokens) FILTER (NOT from_journal), 0)::BIGINT END AS tokens,
    sum(completion_tokens) FILTER (NOT from_journal AND epoch(started_at) + latency_s >= counted_from_s)
      / nullif(any_value(until_s - counted_from_s), 0) AS tokens_per_s
  FROM calls
  JOIN timed USING (run_id)
  GROUP BY run_id
)
SELECT run_id, timed.status, coalesce(readings, 0) AS readings, coalesce(unreadable, 0) AS unreadable, timed.reason,
  (SELECT count(*) FROM run_prompts AS taken WHERE taken.run_id = timed.run_id AND NOT evolved) AS prompts,
  answered, judged, coalesce(failing, 0) AS failing, trees, accepted, set_aside, coalesce(requests, 0) AS requests,
  coalesce(asked.from_journal, 0) AS from_journal, coalesce(failed, 0) AS failed, coalesce(asked.retries, 0) AS retries,
  CASE WHEN asked.run_id IS NULL THEN 0 ELSE tokens END AS tokens, tokens_per_s, paid.cost, since_s, first_call_s, until_s, recipe
FROM timed
JOIN run_progress USING (run_id)
LEFT JOIN asked USING (run_id)
LEFT JOIN (
  SELECT run_id, sum(total)::BIGINT AS readings, sum(unreadable)::BIGINT AS unreadable FROM readings GROUP BY run_id
) AS read USING (run_id)
LEFT JOIN (
  SELECT run_id, CASE WHEN count(*) FILTER (untold > 0 AND cost IS NULL) = 0 THEN sum(cost) END AS cost FROM run_cost
  GROUP BY run_id
) AS paid USING (run_id)
WHERE starts_with(run_id, $run_id)
ORDER BY since_s, run_id;
