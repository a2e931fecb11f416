-- outcome.sql: a run's results in one row.
-- In: $run_id. Counts are of this run; untold_calls: whose endpoint did not tell their tokens; elapsed_s is over all attempts; asking_s from an attempt's first request to its end.
WITH attempts AS (
  SELECT attempt, min(started_at) AS started_at, max(ended_at) AS ended_at,
    lead(min(started_at)) OVER (ORDER BY attempt) AS next_started_at
  FROM runs
  WHERE run_id = $run_id
  GROUP BY attempt
), timed AS (
  -- A killed attempt recorded no end: its last request counts as the end.
  SELECT a.started_at, coalesce(a.ended_at, max(c.started_at), a.started_at) AS ended_at,
    min(c.started_at) FILTER (NOT c.from_journal) AS first_asked_at
  FROM attempts AS a
  LEFT JOIN (FROM calls WHERE run_id = $run_id) AS c
    ON c.started_at >= a.started_at AND (a.next_started_at IS NULL OR c.started_at < a.next_started_at)
  GROUP BY a.attempt, a.started_at, a.ended_at
), times AS (
  SELECT sum(epoch(ended_at) - epoch(started_at)) AS elapsed_s, sum(epoch(ended_at) - epoch(first_asked_at)) AS asking_s
  FROM timed
), asked AS (
  SELECT count(*) AS calls, count(*) FILTER (from_journal) AS from_journal,
    count(*) FILTER (error IS NOT NULL) AS call_errors, coalesce(sum(retries), 0)::BIGINT AS retries,
    coalesce(sum(prompt_tokens), 0)::BIGINT AS prompt_tokens, coalesce(sum(completion_tokens), 0)::BIGINT AS completion_tokens,
    count(*) FILTER (error IS NULL AND completion_tokens IS NULL) AS untold_calls,
    (sum(completion_tokens) FILTER (NOT from_journal))::BIGINT AS generated_tokens
  FROM calls
  WHERE run_id = $run_id
), sampled AS (
  SELECT count(*) AS answers, count(DISTINCT r.prompt_id) AS answered_prompts,
    count(*) FILTER (passed) AS passed, count(*) FILTER (NOT passed) AS failed,
    count(*) FILTER (judge IS NOT NULL AND passed IS NULL) AS undecided,
    count(DISTINCT r.prompt_id) FILTER (NOT passed) AS failed_prompts
  FROM responses AS r
  LEFT JOIN (FROM verdicts WHERE run_id = $run_id AND decides) AS v USING (response_id)
  WHERE r.run_id = $run_id AND r.kind = 'sampled'
), judging AS (
  SELECT count(DISTINCT judge) AS judges FROM judgements WHERE run_id = $run_id
), searched AS (
  SELECT count(*) AS trees, count(*) FILTER (outcome = 'accepted') AS accepted_trees,
    count(*) FILTER (outcome = 'exhausted') AS exhausted_trees, count(*) FILTER (outcome = 'budget') AS budget_trees,
    count(*) FILTER (outcome = 'failed') AS failed_trees, coalesce(sum(nodes_expanded), 0)::BIGINT AS nodes_expanded
  FROM trees
  WHERE run_id = $run_id
)
SELECT run.status, run.reason, run.recipe_name, run.recipe, run.attempt,
  (SELECT count(*) FROM run_prompts WHERE run_id = $run_id AND NOT evolved) AS prompts,
  (SELECT any_value(m.origin) FROM responses JOIN models AS m USING (model_id) WHERE run_id = $run_id AND kind = 'sampled')
    AS actor_origin,
  times.*, asked.*, sampled.*, searched.*, judging.judges, generated_tokens / nullif(asking_s, 0) AS tokens_per_s
FROM current_runs AS run, times, asked, sampled, searched, judging
WHERE run.run_id = $run_id;
