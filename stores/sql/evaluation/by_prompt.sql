-- by_prompt.sql: what a run's answers follow of each of its prompts, means over the prompt's answers (one, unless the recipe
-- asks for more). An answer without checks (an empty one) follows nothing, nor does a prompt without an answer.
-- In: $run_id; $kinds VARCHAR[], NULL: all constraints, and $among: whether only those of these kinds count, or only the
-- others. Out: prompt_id, constraints, prompt_strict, prompt_loose, followed_strict, followed_loose, binary (whether the
-- prompt has one answer at most); one row per prompt with a constraint that counts, in order of position.
WITH asked AS (
  SELECT prompt_id, position AS place, unnest(range(len(constraints))) AS position, unnest(constraints).id AS kind
  FROM run_prompts JOIN prompts USING (prompt_id)
  WHERE run_id = $run_id AND NOT evolved
), answered AS (
  SELECT prompt_id, response_id FROM responses WHERE run_id = $run_id AND kind = 'sampled'
), checked AS (
  SELECT prompt_id, response_id, any_value(place) AS place, count(*) AS constraints,
    count(*) FILTER (followed) AS strict, count(*) FILTER (followed_loosely) AS loose
  FROM asked
  LEFT JOIN answered USING (prompt_id)
  LEFT JOIN (
    SELECT response_id, position, followed, followed_loosely FROM checks WHERE run_id = $run_id
  ) USING (response_id, position)
  WHERE $kinds::VARCHAR[] IS NULL OR list_contains($kinds::VARCHAR[], kind) = $among
  GROUP BY prompt_id, response_id
)
SELECT prompt_id, any_value(constraints) AS constraints,
  avg((strict = constraints)::DOUBLE) AS prompt_strict, avg((loose = constraints)::DOUBLE) AS prompt_loose,
  avg(strict) AS followed_strict, avg(loose) AS followed_loose, count(*) = 1 AS "binary"
FROM checked
GROUP BY prompt_id
ORDER BY any_value(place), prompt_id;
